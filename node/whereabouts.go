package node

import (
	"maps"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm/logpb"
)

// place is where a server is: its gRPC address and its Raft address.
type place struct{ addr, peerAddr string }

// whereabouts is where the servers of the cluster are: where they are recorded, or where they were found since.
//
// A record says where a server was when a leader could write it down. If all servers have moved at once, there is
// no leader, and no record is true. The id of a server does not change, though, and every message of Raft and
// every answer names it. So a server that was found elsewhere by its id is looked for there, until a leader has
// recorded it.
//
// Raft's transport asks at each message, so no answer waits for the state machine. The zero value knows of no
// server.
type whereabouts struct {
	mu       sync.RWMutex
	recorded map[raft.ServerID]place
	found    map[raft.ServerID]find
	// finders is when other servers have said last that they find this one.
	finders map[raft.ServerID]time.Time
}

// confirmedFor is how long it counts that another server has found this one: several rounds of a search.
const confirmedFor = 10 * time.Second

// find is that a server is not where it is recorded. It is over when the record changes.
type find struct{ was, now place }

// record takes over what is recorded now.
func (w *whereabouts) record(servers []*logpb.ServerRecord) {
	recorded := make(map[raft.ServerID]place, len(servers))
	for _, s := range servers {
		recorded[recordID(s)] = place{s.Addr, s.PeerAddr}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.recorded = recorded
	maps.DeleteFunc(w.found, func(id raft.ServerID, f find) bool { return recorded[id] != f.was })
}

// recordedAt is where a server is recorded; the zero place: nowhere.
func (w *whereabouts) recordedAt(id raft.ServerID) place {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.recorded[id]
}

// foundAt is where a server was found that is not where it is recorded.
func (w *whereabouts) foundAt(id raft.ServerID) (at place, ok bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	f, ok := w.found[id]
	return f.now, ok
}

// peerAddr is the Raft address of a server, which Raft's configuration has at an address. The record goes before
// the configuration: it is written first, and the configuration cannot say that two servers have exchanged their
// addresses.
func (w *whereabouts) peerAddr(id raft.ServerID, configured raft.ServerAddress) raft.ServerAddress {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if f, ok := w.found[id]; ok {
		return raft.ServerAddress(f.now.peerAddr)
	}
	if at := w.recorded[id]; at.peerAddr != "" {
		return raft.ServerAddress(at.peerAddr)
	}
	return configured
}

// note notes that a server, which is recorded at one place, was found at another one. It does nothing if the
// record has changed meanwhile.
func (w *whereabouts) note(id raft.ServerID, was, now place) (fresh bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.recorded[id] != was || was == now || w.found[id].now == now {
		return false
	}
	if w.found == nil {
		w.found = map[raft.ServerID]find{}
	}
	w.found[id] = find{was: was, now: now}
	return true
}

// forget notes that a server is where it is recorded.
func (w *whereabouts) forget(id raft.ServerID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.found, id)
}

// finds are the servers that are not where they are recorded.
func (w *whereabouts) finds() map[raft.ServerID]place {
	w.mu.RLock()
	defer w.mu.RUnlock()
	out := make(map[raft.ServerID]place, len(w.found))
	for id, f := range w.found {
		out[id] = f.now
	}
	return out
}

// confirm notes whether another server finds this one where it is.
func (w *whereabouts) confirm(id raft.ServerID, finds bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !finds {
		delete(w.finders, id)
		return
	}
	if w.finders == nil {
		w.finders = map[raft.ServerID]time.Time{}
	}
	w.finders[id] = time.Now()
}

// isFoundBy says whether another server has said, not long ago, that it finds this one where it is.
func (w *whereabouts) isFoundBy(id raft.ServerID) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	at, ok := w.finders[id]
	return ok && time.Since(at) < confirmedFor
}
