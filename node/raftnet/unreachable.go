package raftnet

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// patienceCheck is how often it is looked whether a server that is away is still waited for.
const patienceCheck = 50 * time.Millisecond

// wantedCheck is after how many bytes of a state it is looked whether it is still to be sent.
const wantedCheck = 1 << 20

// errReturned is what raft is told of entries that waited for a server: that it is to
// read anew what that server lacks.
var errReturned = errors.New("the server was away and answers again")

// errNotAwaited ends the wait for a server that raft has nothing for any more.
var errNotAwaited = errors.New("this server does not lead any more, or the other one is no member")

// patient is raft's transport with entries that wait for servers that are away.
//
// After each failure raft waits longer before it tries that server again, up to ten
// seconds, whatever its heartbeats meet meanwhile. A server that is back after a while
// then follows, and is taken for healthy, but gets no entries and counts for nothing:
// where another one ends next, as when servers are restarted in turns, nothing commits
// for that long. Here no entries are tried while heartbeats fail, so that raft counts a
// failure or two for each absence, and none holds it back for more than milliseconds.
type patient struct {
	Base
	// wanted says whether entries of a term are still to reach a server.
	wanted func(term uint64, id raft.ServerID) bool
	// pace bounds what they are sent, and progress is told of what they have.
	pace     *pace
	progress *progress
	// absences tells the log.
	absences *absences

	mu sync.Mutex
	// gone is the servers of which the last heartbeat failed.
	gone map[raft.ServerID]*silentSince

	once   sync.Once
	closed chan struct{}
}

// silentSince is that heartbeats to a server fail.
type silentSince struct {
	// back is closed when one is answered.
	back chan struct{}
	// since is when the first of those in a row failed that were sent in the term.
	since time.Time
	term  uint64
}

func newPatient(inner Base, wanted func(term uint64, id raft.ServerID) bool, pc *pace, pr *progress, a *absences) *patient {
	return &patient{Base: inner, wanted: wanted, pace: pc, progress: pr, absences: a, gone: map[raft.ServerID]*silentSince{}, closed: make(chan struct{})}
}

// AppendEntries implements raft.Transport.
func (p *patient) AppendEntries(id raft.ServerID, target raft.ServerAddress, r *raft.AppendEntriesRequest, out *raft.AppendEntriesResponse) error {
	if isHeartbeat(r) {
		err := p.Base.AppendEntries(id, target, r, out)
		p.heard(id, r.Term, err == nil)
		p.absences.heard(id, r.Term, err)
		return err
	}
	if back := p.back(id); back != nil {
		// It may be away for days: the entries are not kept for it.
		r.Entries = nil
		return p.wait(back, r.Term, id)
	}
	p.pace.cut(id, r)
	err := p.Base.AppendEntries(id, target, r, out)
	p.pace.ended(id, r, err == nil)
	if err == nil && out.Success {
		p.progress.has(id, lastOf(r))
	}
	return err
}

// InstallSnapshot implements raft.Transport.
func (p *patient) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, r *raft.InstallSnapshotRequest, out *raft.InstallSnapshotResponse, data io.Reader) error {
	if back := p.back(id); back != nil {
		// Nor is the state, which has a transaction open for it.
		if c, ok := data.(io.Closer); ok {
			if err := c.Close(); err != nil {
				return err
			}
		}
		return p.wait(back, r.Term, id)
	}
	defer p.progress.installing(id, r.LastLogIndex)()
	return p.Base.InstallSnapshot(id, target, r, out, &wantedReader{Reader: data, wanted: func() bool { return p.wanted(r.Term, id) }})
}

// wantedReader is a state that ends with an error once it is not to be sent any more. Raft
// would send it to its end, which takes hours through a slow link, and meanwhile the other
// server hears of no new leader.
type wantedReader struct {
	io.Reader
	wanted func() bool
	// unseen is how much was read since it was looked at.
	unseen int
}

// Read implements io.Reader.
func (w *wantedReader) Read(p []byte) (int, error) {
	if w.unseen >= wantedCheck {
		w.unseen = 0
		if !w.wanted() {
			return 0, errNotAwaited
		}
	}
	n, err := w.Reader.Read(p)
	w.unseen += n
	return n, err
}

// heard notes whether a server has answered a heartbeat of a term.
func (p *patient) heard(id raft.ServerID, term uint64, answered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.gone[id]
	switch {
	case answered && a != nil:
		close(a.back)
		delete(p.gone, id)
	case !answered && a == nil:
		p.gone[id] = &silentSince{make(chan struct{}), time.Now(), term}
	case !answered && a.term != term:
		// What was between two terms of this leader is not known.
		a.since, a.term = time.Now(), term
	}
}

// silence is how long a server has answered no heartbeat, as far as is known from a term; 0:
// it has, or none was sent.
func (p *patient) silence(id raft.ServerID, term uint64) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.gone[id]; a != nil && a.term == term {
		return time.Since(a.since)
	}
	return 0
}

// forget says that a server is no member any more.
func (p *patient) forget(id raft.ServerID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.gone, id)
}

// away says whether a server did not answer its last heartbeat.
func (p *patient) away(id raft.ServerID) bool { return p.back(id) != nil }

// back is closed when a server is back; nil: it is not away.
func (p *patient) back(id raft.ServerID) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.gone[id]; a != nil {
		return a.back
	}
	return nil
}

// wait waits for a server that is away, for as long as it is wanted. It never returns nil.
func (p *patient) wait(back <-chan struct{}, term uint64, id raft.ServerID) error {
	tick := time.NewTicker(patienceCheck)
	defer tick.Stop()
	for {
		select {
		case <-back:
			return errReturned
		case <-p.closed:
			return raft.ErrTransportShutdown
		case <-tick.C:
			if !p.wanted(term, id) {
				return errNotAwaited
			}
		}
	}
}

// Close implements raft.WithClose.
func (p *patient) Close() error {
	p.once.Do(func() { close(p.closed) })
	return p.Base.Close()
}

// isHeartbeat tells a heartbeat from entries, as raft's own transport does.
func isHeartbeat(r *raft.AppendEntriesRequest) bool {
	return r.PrevLogEntry == 0 && r.PrevLogTerm == 0 && len(r.Entries) == 0 && r.LeaderCommitIndex == 0
}
