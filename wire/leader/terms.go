package leader

import (
	"context"
	"slices"
	"sync"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/internal/ticks"
)

// Workers and clients follow the highest term that they have heard of. One server that
// claims a term which there never was would have them for good: they would take every real
// leader for a deposed one. A leader needs the votes of a majority in its term, and no server
// ever goes back to a lower one. So a majority that has not reached a term is proof that
// nobody leads in it, and that is asked for where a claim is doubtful.

const (
	// MaxTermLeap is how far a term may be ahead of the highest that is known to be taken at a
	// server's word: an election every 400 ms for an hour.
	MaxTermLeap = 10_000
	// askTimeout bounds the question for a server's term, or its cluster.
	askTimeout = time.Second
	// termPause is the least time between two inquiries about terms.
	termPause = time.Second
)

// Near says whether a term is taken at a server's word by one who knows of another.
func Near(known, term uint64) bool {
	return term <= known || term-known <= MaxTermLeap
}

// Believable says whether a server may be followed in a term: it is not far ahead of the
// highest, or a majority of the servers has come about as far.
func (f *Finder) Believable(ctx context.Context, term uint64) bool {
	return Near(f.follower.Term(), term) || Near(majorityTerm(f.askTerms(ctx, true)), term)
}

// Doubt asks whether there is a leader in the highest term that was heard of, and has the follower go
// back to what a majority of the servers has reached where there cannot be. settled is false where too few
// have answered to tell.
func (f *Finder) Doubt(ctx context.Context) (settled bool) {
	highest := f.follower.Term()
	if highest == 0 {
		return true
	}
	terms := f.askTerms(ctx, false)
	reached := majorityTerm(terms)
	if !refuted(terms, highest) {
		return reached >= highest
	}
	f.follower.Refute(highest, reached)
	return true
}

// judge says whether to follow a leader of a term, as one server has announced it. settled is false
// where too few servers have answered to tell: a busy moment must not decide that for good.
func (f *Finder) judge(ctx context.Context, term uint64) (follow, settled bool) {
	known := f.follower.Term()
	if term < known {
		// The server is behind, most likely; or the highest term is one that there never was.
		settled = f.Doubt(ctx)
		return term >= f.follower.Term() && f.Believable(ctx, term), settled
	}
	if Near(known, term) {
		return true, true
	}
	reached := majorityTerm(f.askTerms(ctx, false))
	return Near(reached, term), reached != 0
}

// askTerms asks all servers that are known for their terms, once in termPause. Those that do not answer
// count with 0. recent says that what they have said a moment ago will do. Otherwise they are asked
// after the call: what they said before they could hear of a term does not prove that there is none.
func (f *Finder) askTerms(ctx context.Context, recent bool) []uint64 {
	called := time.Now()
	for {
		f.asking.Lock()
		wait := termPause - time.Since(f.answered)
		if f.asked.After(called) || recent && wait > 0 {
			defer f.asking.Unlock()
			return f.terms
		}
		if wait <= 0 {
			defer f.asking.Unlock()
			return f.askTermsNow(ctx)
		}
		f.asking.Unlock()
		if !ticks.Sleep(ctx, wait) {
			return nil
		}
	}
}

// askTermsNow is askTerms with f.asking held.
func (f *Finder) askTermsNow(ctx context.Context) []uint64 {
	began := time.Now()
	answers := f.askAll(ctx, f.Known())
	terms := make([]uint64, len(answers))
	for i, m := range answers {
		terms[i] = m.GetTerm()
	}
	if ctx.Err() == nil { // or the servers had no time to answer, which says nothing to anybody else
		f.asked, f.answered, f.terms = began, time.Now(), terms
	}
	return terms
}

// askAll asks servers, all at once and MaxServers of them at most, what they tell of the cluster; nil of
// those that do not answer.
func (f *Finder) askAll(ctx context.Context, addrs []string) []*rotav1.WatchLeaderResponse {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answers := make([]*rotav1.WatchLeaderResponse, min(len(addrs), MaxServers))
	var wg sync.WaitGroup
	for i, addr := range addrs[:len(answers)] {
		wg.Go(func() { answers[i] = f.askOne(ctx, addr) })
	}
	wg.Wait()
	return answers
}

func (f *Finder) askOne(ctx context.Context, addr string) *rotav1.WatchLeaderResponse {
	s, err := f.cfg.Connect(addr)
	if err != nil {
		return nil
	}
	if s.Close != nil {
		defer s.Close()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := s.Client.WatchLeader(ctx, &rotav1.WatchLeaderRequest{})
	if err != nil {
		return nil
	}
	m, err := stream.Recv()
	if err != nil {
		return nil
	}
	return m
}

// majorityTerm is the highest term that a majority of the servers has reached; 0 where a
// majority did not answer.
func majorityTerm(terms []uint64) uint64 {
	if len(terms) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(terms))
	return sorted[(len(sorted)-1)/2]
}

// refuted says whether a majority of the servers has answered, and has not reached a term.
func refuted(terms []uint64, term uint64) bool {
	below := 0
	for _, t := range terms {
		if t != 0 && t < term {
			below++
		}
	}
	return below > len(terms)/2
}
