package worker

import (
	"context"
	"math/rand/v2"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
)

// Workers without exclusive tasks go to a new leader over some time: spreadEach for each
// worker that there is, and spreadMost at most. Those with exclusive tasks go at once:
// their leases run out.
const (
	spreadEach = 20 * time.Microsecond
	spreadMost = 200 * time.Millisecond
)

// watchLeader keeps a second connection, to another server than the session's, on
// which changes of the leader are announced. When the leader dies, its successor
// is found without waiting for timeouts, over a connection that is there already.
func (w *Worker) watchLeader(ctx context.Context) {
	var back backoff
	for ctx.Err() == nil {
		addr := w.link.other()
		if addr == "" {
			// There is one server as far as is known. Another may be heard of.
			select {
			case <-w.link.moved:
			case <-ctx.Done():
			}
			continue
		}
		if w.watchAt(ctx, addr) {
			back.reset()
		}
		if !sleep(ctx, back.next()) {
			return
		}
	}
}

// watchAt follows the announcements of one server, until they end or the session
// moves to that server. heard says that there was one.
func (w *Worker) watchAt(ctx context.Context, addr string) (heard bool) {
	conn, err := w.cfg.Dial(addr)
	if err != nil {
		w.log.Debug("cannot watch for the leader", "addr", addr, "error", err)
		return false
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	moved := make(chan struct{})
	defer func() { <-moved }()
	go func() {
		defer close(moved)
		defer cancel()
		for {
			select {
			case <-w.link.moved:
				if w.link.current() == addr {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	defer cancel()
	stream, err := rotav1.NewClusterServiceClient(conn).WatchLeader(ctx, &rotav1.WatchLeaderRequest{})
	for err == nil {
		var m *rotav1.WatchLeaderResponse
		if m, err = stream.Recv(); err == nil {
			heard = true
			w.link.heard(m.GetServers())
			if !w.leaderAnnounced(ctx, m) {
				// The next watch tells of it again. This one may say nothing more.
				_ = sleep(ctx, termPause)
				return heard
			}
		}
	}
	w.log.Debug("the watch for the leader ended", "addr", addr, "error", err)
	return heard
}

// leaderAnnounced goes to a leader of a higher term. A term without a leader means
// nothing here: it may come from a server that is cut off and calls elections that
// nobody hears. settled is false where it is not known whether there is a leader of the highest
// term, for too few servers have answered: a busy moment must not decide that for good.
func (w *Worker) leaderAnnounced(ctx context.Context, m *rotav1.WatchLeaderResponse) (settled bool) {
	if m.GetLeaderAddr() == "" {
		return true
	}
	settled = true
	if m.GetTerm() < w.lease.highest() {
		// One that is behind, most likely; or the highest term is one that there never was.
		settled = w.doubt(ctx)
	}
	if m.GetTerm() < w.lease.highest() || !w.believable(ctx, m.GetTerm()) {
		return settled
	}
	if m.GetTerm() > w.lease.highest() && w.board.exclusivesHeld() == 0 {
		spread := min(time.Duration(m.GetWorkers())*spreadEach, spreadMost)
		if !sleep(ctx, rand.N(spread+1)) {
			return settled
		}
	}
	w.lease.observe(m.GetTerm())
	w.link.announced(m.GetTerm(), m.GetLeaderAddr())
	return settled
}
