package worker

import (
	"context"
	"errors"
	"sync"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/wire"
)

const (
	// termPause is the least time between two inquiries about terms.
	termPause = time.Second
	// doubtAfter is how long a worker is without a leader before it asks whether it waits for
	// one that there cannot be. It doubles each time, up to doubtMost: an outage should not
	// have thousands of workers ask.
	doubtAfter = 2 * time.Second
	doubtMost  = 30 * time.Second
)

var (
	errAbsurdTerm = errors.New("the server speaks for a term that no majority of the servers has reached")
	errRefuted    = errors.New("no majority of the servers has reached the term that the server speaks for")
)

// inquiry is what a majority of the servers has said of terms last.
type inquiry struct {
	mu    sync.Mutex
	last  time.Duration
	asked bool
	terms []uint64
}

// askTerms asks all servers that are known for their terms, or returns what they have said a
// moment ago.
func (w *Worker) askTerms(ctx context.Context) []uint64 {
	w.inquiry.mu.Lock()
	defer w.inquiry.mu.Unlock()
	if w.inquiry.asked && monoNow()-w.inquiry.last < termPause {
		return w.inquiry.terms
	}
	w.inquiry.terms = wire.AskTerms(ctx, w.link.all(), w.source)
	w.inquiry.last, w.inquiry.asked = monoNow(), true
	return w.inquiry.terms
}

// source connects to a server to ask it for its term, or its cluster.
func (w *Worker) source(addr string) (wire.TermSource, error) {
	conn, err := w.cfg.Dial(addr)
	if err != nil {
		return wire.TermSource{}, err
	}
	return wire.TermSource{Client: rotav1.NewClusterServiceClient(conn), Close: func() { _ = conn.Close() }}, nil
}

// believable says whether a server may be followed in a term: it is not far ahead of the
// highest, or a majority of the servers has come about as far.
func (w *Worker) believable(ctx context.Context, term uint64) bool {
	highest := w.lease.highest()
	if term <= highest || term-highest <= wire.MaxTermLeap {
		return true
	}
	reached := wire.MajorityTerm(w.askTerms(ctx))
	return term <= reached || term-reached <= wire.MaxTermLeap
}

// doubt asks whether there is a leader in the highest term that was heard of, and goes back to
// what a majority of the servers has reached where there cannot be. settled is false where too few
// have answered to tell.
func (w *Worker) doubt(ctx context.Context) (settled bool) {
	highest := w.lease.highest()
	if highest == 0 {
		return true
	}
	terms := w.askTerms(ctx)
	if !wire.Refuted(terms, highest) {
		return wire.MajorityTerm(terms) >= highest
	}
	reached := wire.MajorityTerm(terms)
	w.log.Warn("nobody leads in the highest term that was heard of: some server said so by mistake, or lied", "term", highest, "reached", reached)
	w.lease.refute(highest, reached)
	w.link.refute(reached)
	return true
}
