package raftnet

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// wantedInterval is how often it is looked whether a server that is away is still waited for.
const wantedInterval = 50 * time.Millisecond

// wantedBytes is after how many bytes of a state it is looked whether it is still to be sent.
const wantedBytes = 1 << 20

// errReturned is what raft is told of entries that waited for a server: that it is to
// read anew what that server lacks.
var errReturned = errors.New("the server was away and answers again")

// errNotWanted ends the wait for a server that raft has nothing for any more.
var errNotWanted = errors.New("this server does not lead any more, or the other one is no member")

// unreachable is raft's transport with entries that wait for servers that are away.
//
// After each failure raft waits longer before it tries that server again, up to ten
// seconds, whatever its heartbeats meet meanwhile. A server that is back after a while
// then follows, and is taken for healthy, but gets no entries and counts for nothing:
// where another one ends next, as when servers are restarted in turns, nothing commits
// for that long. Here no entries are tried while heartbeats fail, so that raft counts a
// failure or two for each absence, and none holds it back for more than milliseconds.
type unreachable struct {
	Base
	// wanted says whether entries of a term are still to reach a server.
	wanted func(term uint64, id raft.ServerID) bool
	// sizes bounds what they are sent, and progress is told of what they have.
	sizes    *batchSizes
	progress *progress
	// told tells the log.
	told *unreachableLog

	mu sync.Mutex
	// outages are of the servers of which the last heartbeat failed.
	outages map[raft.ServerID]*outage

	once   sync.Once
	closed chan struct{}
}

// outage is that heartbeats to a server fail.
type outage struct {
	// back is closed when one is answered.
	back chan struct{}
	// since is when the first of those in a row failed that were sent in the term.
	since time.Time
	term  uint64
}

func newUnreachable(inner Base, wanted func(term uint64, id raft.ServerID) bool, sizes *batchSizes, pr *progress, a *unreachableLog) *unreachable {
	return &unreachable{Base: inner, wanted: wanted, sizes: sizes, progress: pr, told: a, outages: map[raft.ServerID]*outage{}, closed: make(chan struct{})}
}

// AppendEntries implements raft.Transport.
func (p *unreachable) AppendEntries(id raft.ServerID, target raft.ServerAddress, r *raft.AppendEntriesRequest, out *raft.AppendEntriesResponse) error {
	if isHeartbeat(r) {
		err := p.Base.AppendEntries(id, target, r, out)
		p.heard(id, r.Term, err == nil)
		p.told.heard(id, r.Term, err)
		return err
	}
	if back := p.back(id); back != nil {
		// It may be away for days: the entries are not kept for it.
		r.Entries = nil
		return p.wait(back, r.Term, id)
	}
	p.sizes.limit(id, r)
	err := p.Base.AppendEntries(id, target, r, out)
	p.sizes.sent(id, r, err == nil)
	if err == nil && out.Success {
		p.progress.has(id, lastOf(r))
	}
	return err
}

// InstallSnapshot implements raft.Transport.
func (p *unreachable) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, r *raft.InstallSnapshotRequest, out *raft.InstallSnapshotResponse, data io.Reader) error {
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
	if w.unseen >= wantedBytes {
		w.unseen = 0
		if !w.wanted() {
			return 0, errNotWanted
		}
	}
	n, err := w.Reader.Read(p)
	w.unseen += n
	return n, err
}

// heard notes whether a server has answered a heartbeat of a term.
func (p *unreachable) heard(id raft.ServerID, term uint64, answered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.outages[id]
	switch {
	case answered && a != nil:
		close(a.back)
		delete(p.outages, id)
	case !answered && a == nil:
		p.outages[id] = &outage{make(chan struct{}), time.Now(), term}
	case !answered && a.term != term:
		// What was between two terms of this leader is not known.
		a.since, a.term = time.Now(), term
	}
}

// silence is how long a server has answered no heartbeat, as far as is known from a term; 0:
// it has, or none was sent.
func (p *unreachable) silence(id raft.ServerID, term uint64) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.outages[id]; a != nil && a.term == term {
		return time.Since(a.since)
	}
	return 0
}

// forget says that a server is no member any more.
func (p *unreachable) forget(id raft.ServerID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.outages, id)
}

// isUnreachable says whether a server did not answer its last heartbeat.
func (p *unreachable) isUnreachable(id raft.ServerID) bool { return p.back(id) != nil }

// back is closed when a server is back; nil: it is not away.
func (p *unreachable) back(id raft.ServerID) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.outages[id]; a != nil {
		return a.back
	}
	return nil
}

// wait waits for a server that is away, for as long as it is wanted. It never returns nil.
func (p *unreachable) wait(back <-chan struct{}, term uint64, id raft.ServerID) error {
	tick := time.NewTicker(wantedInterval)
	defer tick.Stop()
	for {
		select {
		case <-back:
			return errReturned
		case <-p.closed:
			return raft.ErrTransportShutdown
		case <-tick.C:
			if !p.wanted(term, id) {
				return errNotWanted
			}
		}
	}
}

// Close implements raft.WithClose.
func (p *unreachable) Close() error {
	p.once.Do(func() { close(p.closed) })
	return p.Base.Close()
}

// isHeartbeat tells a heartbeat from entries, as raft's own transport does.
func isHeartbeat(r *raft.AppendEntriesRequest) bool {
	return r.PrevLogEntry == 0 && r.PrevLogTerm == 0 && len(r.Entries) == 0 && r.LeaderCommitIndex == 0
}
