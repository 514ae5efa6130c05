package raftnet

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// wantedInterval is how often to check whether entries for an unreachable server are still wanted.
const wantedInterval = 50 * time.Millisecond

// wantedBytes is after how many bytes of a state to check whether it is still to be sent.
const wantedBytes = 1 << 20

// errReturned is raft's answer for entries that waited for a server. Raft then reads again what that
// server lacks.
var errReturned = errors.New("the server was away and answers again")

// errNotWanted ends the wait for a server that raft has nothing for any more.
var errNotWanted = errors.New("this server does not lead any more, or the other one is no member")

// unreachable is raft's transport with entries that wait for servers that do not answer.
//
// After each failure raft waits longer before it sends entries to that server again, up to ten
// seconds, whether its heartbeats are answered meanwhile or not. A server that is back then follows
// and seems healthy, but it gets no entries and counts for nothing. If another server ends next, as
// when servers are restarted in turns, nothing commits for that long. Here no entries are sent while
// heartbeats fail. So raft counts a failure or two for each absence, and waits for milliseconds.
type unreachable struct {
	Base
	// wanted says whether a server is still to get entries of a term.
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

// outage describes a server to which heartbeats fail.
type outage struct {
	// back is closed when one is answered.
	back chan struct{}
	// since is when the first failure in a row was, of heartbeats of the term.
	since time.Time
	term  uint64
}

func newUnreachable(inner Base, wanted func(term uint64, id raft.ServerID) bool, sizes *batchSizes, pr *progress, told *unreachableLog) *unreachable {
	return &unreachable{Base: inner, wanted: wanted, sizes: sizes, progress: pr, told: told, outages: map[raft.ServerID]*outage{}, closed: make(chan struct{})}
}

// AppendEntries implements raft.Transport.
func (u *unreachable) AppendEntries(id raft.ServerID, target raft.ServerAddress, r *raft.AppendEntriesRequest, out *raft.AppendEntriesResponse) error {
	if isHeartbeat(r) {
		err := u.Base.AppendEntries(id, target, r, out)
		u.heard(id, r.Term, err == nil)
		u.told.heard(id, r.Term, err)
		return err
	}
	if back := u.back(id); back != nil {
		// It may be away for days, so the entries do not stay in memory for it.
		r.Entries = nil
		return u.wait(back, r.Term, id)
	}
	u.sizes.limit(id, r)
	err := u.Base.AppendEntries(id, target, r, out)
	u.sizes.sent(id, r, err == nil)
	if err == nil && out.Success {
		u.progress.has(id, lastOf(r))
	}
	return err
}

// InstallSnapshot implements raft.Transport.
func (u *unreachable) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, r *raft.InstallSnapshotRequest, out *raft.InstallSnapshotResponse, data io.Reader) error {
	if back := u.back(id); back != nil {
		// Nor does the state stay open, because it holds a transaction.
		if c, ok := data.(io.Closer); ok {
			if err := c.Close(); err != nil {
				return err
			}
		}
		return u.wait(back, r.Term, id)
	}
	defer u.progress.installing(id, r.LastLogIndex)()
	return u.Base.InstallSnapshot(id, target, r, out, &wantedReader{Reader: data, wanted: func() bool { return u.wanted(r.Term, id) }})
}

// wantedReader is a state that ends with an error once it is not to be sent any more. Raft would send
// it to its end. Through a slow link that takes hours, in which the other server hears of no new
// leader.
type wantedReader struct {
	io.Reader
	wanted func() bool
	// unchecked is how much was read since the last check.
	unchecked int
}

// Read implements io.Reader.
func (w *wantedReader) Read(p []byte) (int, error) {
	if w.unchecked >= wantedBytes {
		w.unchecked = 0
		if !w.wanted() {
			return 0, errNotWanted
		}
	}
	n, err := w.Reader.Read(p)
	w.unchecked += n
	return n, err
}

// heard notes whether a server has answered a heartbeat of a term.
func (u *unreachable) heard(id raft.ServerID, term uint64, answered bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	o := u.outages[id]
	switch {
	case answered && o != nil:
		close(o.back)
		delete(u.outages, id)
	case !answered && o == nil:
		u.outages[id] = &outage{make(chan struct{}), time.Now(), term}
	case !answered && o.term != term:
		// Nobody knows what was between two terms of this leader.
		o.since, o.term = time.Now(), term
	}
}

// silence is how long a server has answered no heartbeat, as far as is known from a term; 0:
// it has, or none was sent.
func (u *unreachable) silence(id raft.ServerID, term uint64) time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	if o := u.outages[id]; o != nil && o.term == term {
		return time.Since(o.since)
	}
	return 0
}

// forget says that a server is no member any more.
func (u *unreachable) forget(id raft.ServerID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.outages, id)
}

// isUnreachable says whether a server did not answer its last heartbeat.
func (u *unreachable) isUnreachable(id raft.ServerID) bool { return u.back(id) != nil }

// back is closed when a server is back; nil: it is not away.
func (u *unreachable) back(id raft.ServerID) <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	if o := u.outages[id]; o != nil {
		return o.back
	}
	return nil
}

// wait waits for a server that is away, for as long as it is wanted. It never returns nil.
func (u *unreachable) wait(back <-chan struct{}, term uint64, id raft.ServerID) error {
	tick := time.NewTicker(wantedInterval)
	defer tick.Stop()
	for {
		select {
		case <-back:
			return errReturned
		case <-u.closed:
			return raft.ErrTransportShutdown
		case <-tick.C:
			if !u.wanted(term, id) {
				return errNotWanted
			}
		}
	}
}

// Close implements raft.WithClose.
func (u *unreachable) Close() error {
	u.once.Do(func() { close(u.closed) })
	return u.Base.Close()
}

// isHeartbeat tells a heartbeat from entries, as raft's own transport does.
func isHeartbeat(r *raft.AppendEntriesRequest) bool {
	return r.PrevLogEntry == 0 && r.PrevLogTerm == 0 && len(r.Entries) == 0 && r.LeaderCommitIndex == 0
}
