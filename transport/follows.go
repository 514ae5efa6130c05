package transport

import (
	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm/store"
)

// A stream of submits also sends the results of jobs that were submitted on it. A job may be submitted several times
// under its request key, each time with a request to follow it. A stream follows it once, and answers the other
// requests as lost: then the client reads the results in another way.

const (
	// maxFollowed bounds the jobs that one stream follows, maxAllFollowed those of all streams of a
	// server: about half a KiB each. Beyond them a job is answered as lost.
	maxFollowed    = 64 << 10
	maxAllFollowed = 128 << 10
)

// followed is a job whose results the stream sends.
type followed struct {
	seq, job uint64
	next     uint32
	dirty    bool
	// lost: it is not followed.
	lost bool
	// stop ends the watch; nil: it has not begun.
	stop func()
}

// follow begins to follow a job, unless the stream follows it already, or there is no room for it. The caller puts
// the returned job among the dirty, after the answer to its submit.
func (w *submitStream) follow(seq, job uint64) *followed {
	f := &followed{seq: seq, job: job, dirty: true}
	w.mu.Lock()
	_, already := w.followed[job]
	if f.lost = already || w.gone || len(w.followed) >= maxFollowed || !w.s.mayFollow(); !f.lost {
		w.followed[job] = f
	}
	w.mu.Unlock()
	if f.lost {
		return f
	}
	// Without w.mu: the watchers hold a lock of their own when they call changed.
	stop := w.s.node.State().Watchers().WatchFunc(job, func() { w.changed(f) })
	w.mu.Lock()
	f.stop = stop
	gone := w.gone
	w.mu.Unlock()
	if gone { // its submit was under way when the client went
		w.s.unfollow(f)
	}
	return f
}

// mayFollow takes a place among the jobs that all streams follow; false: there is none.
func (s *Server) mayFollow() bool {
	if s.following.Add(1) <= s.mostFollowed {
		return true
	}
	s.following.Add(-1)
	return false
}

// unfollow ends the watch of a job and gives its place back.
func (s *Server) unfollow(f *followed) {
	f.stop()
	s.following.Add(-1)
}

// changed notes that a followed job has news.
func (w *submitStream) changed(f *followed) {
	w.mu.Lock()
	if !f.dirty {
		f.dirty = true
		w.dirty = append(w.dirty, f)
	}
	w.mu.Unlock()
	w.signal()
}

// results returns the new results of a followed job; nil: there are none. more says that there are more than fit into
// a message.
func (w *submitStream) results(f *followed) (out *rotav1.FollowedResults, more bool) {
	out = &rotav1.FollowedResults{Seq: f.seq}
	if f.lost {
		out.Lost = true
		return out, false
	}
	received, final, err := w.s.progress(f.job)
	if err == nil && f.next < received {
		r := resultWriter{s: w.s, job: f.job, next: f.next}
		var count uint32
		if out.Groups, count, err = r.completed(); err == nil {
			f.next += count
		}
	}
	switch {
	case err != nil:
		out.Groups, out.Lost = nil, true
	case final && f.next >= received:
		out.Complete = true
	case f.next < received:
		return out, true
	case len(out.Groups) == 0:
		return nil, false
	}
	if out.Complete || out.Lost {
		w.drop(f)
	}
	return out, false
}

// drop stops following a job that has no more results to send on this stream.
func (w *submitStream) drop(f *followed) {
	w.mu.Lock()
	gone := w.gone
	delete(w.followed, f.job)
	w.mu.Unlock()
	if !gone { // or it was dropped with all others
		w.s.unfollow(f)
	}
}

// progress returns how many outcomes a job has, and whether it is final.
func (s *Server) progress(job uint64) (received uint32, final bool, err error) {
	if received, final, ok := s.node.State().Machine().Progress(job); ok {
		return received, final, nil
	}
	rec, err := s.node.State().Job(job)
	if err != nil {
		return 0, false, err
	}
	return rec.Received, store.JobState(rec).Final(), nil
}

// unfollowAll stops following all jobs: the stream has ended.
func (w *submitStream) unfollowAll() {
	w.mu.Lock()
	w.refusing, w.gone = true, true
	var all []*followed
	for _, f := range w.followed {
		if f.stop != nil { // otherwise the caller of follow, which is about to begin the watch, ends it
			all = append(all, f)
		}
	}
	w.followed = map[uint64]*followed{}
	w.mu.Unlock()
	w.room.Broadcast()
	for _, f := range all {
		w.s.unfollow(f)
	}
}
