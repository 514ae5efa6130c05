package node

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/internal/stopwatch"
	"github.com/rota-scheduler/rota/node/raftlog"
	"github.com/rota-scheduler/rota/node/raftnet"
)

// applier is the raft.FSM: a thin layer over the machine.
type applier struct {
	n *Node

	// failed is set when an entry could not be applied: nothing behind it may be.
	failed atomic.Bool
	// step is the entry under way, or the wait for the disk behind a batch of them. A batch
	// may take long where there is much to do, and is no disk that stalls.
	step stopwatch.Stopwatch
	// took is how long batches have taken.
	took latency

	// at is the last entry that was applied.
	at atomic.Pointer[fsm.Place]

	mu sync.Mutex
	// waiters wait for an index each.
	waiters map[chan struct{}]uint64

	clock stateClock

	// logBytes is how much of the log was applied behind logFrom, where the last snapshot
	// was asked for.
	logBytes int64
	logFrom  uint64

	// serverChanges is how often the recorded servers had changed when that was told last.
	serverChanges uint64
}

// Apply implements raft.FSM.
func (a *applier) Apply(l *raft.Log) any { return a.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM.
func (a *applier) ApplyBatch(logs []*raft.Log) []any {
	out := make([]any, len(logs))
	if a.failed.Load() {
		return out
	}
	defer a.step.Stop()
	began := time.Now()
	defer func() { a.took.add(time.Since(began)) }()
	m := a.n.state.Machine()
	configured := false
	for i, l := range logs {
		a.step.Start()
		results, err := applyEntry(m, l)
		if err != nil {
			a.failed.Store(true)
			a.n.fatal(mustStop(err))
			return out
		}
		if l.Type == raft.LogCommand {
			out[i] = results
			a.logBytes += raftnet.EntrySize(l)
		}
		configured = configured || l.Type == raft.LogConfiguration
	}
	a.reached()
	if changes := m.ServerChanges(); changes != a.serverChanges || configured {
		a.serverChanges = changes
		a.n.placesChanged()
	}
	if a.logFrom == 0 {
		a.logFrom = logs[0].Index - 1
	}
	if a.logBytes >= a.n.cfg.SnapshotBytes {
		last := logs[len(logs)-1].Index
		// Not all entries come here, and raft counts all.
		a.n.average.Store(max(1, a.logBytes/int64(last-a.logFrom)))
		a.n.snapshotWanted()
		a.logBytes, a.logFrom = 0, last
	}
	a.step.Start()
	a.n.flusher.Applied(a.n.ctx)
	return out
}

// applyEntry applies one entry, if it follows the one that was applied last.
func applyEntry(m *fsm.Machine, l *raft.Log) ([]fsm.Result, error) {
	prev, named, err := raftlog.Previous(l)
	if err == nil && named && raftlog.Sees(l) {
		err = m.CheckFollows(l.Index, prev)
	}
	if err != nil {
		return nil, err
	}
	switch l.Type {
	case raft.LogCommand:
		return m.Apply(l.Index, l.Term, l.Data)
	case raft.LogConfiguration:
		m.ApplyConfiguration(l.Index, l.Term, l.Data)
	}
	return nil, nil
}

// failure is why nothing is applied any more, or nil. Raft goes on as if it were, so
// whoever relies on what raft says was applied must ask.
func (a *applier) failure() error {
	if a.failed.Load() {
		return errors.New("an entry of the log could not be applied: this server must stop")
	}
	return nil
}

// applying returns for how long the entry under way has taken; 0: none is.
func (a *applier) applying() time.Duration { return a.step.Running() }

// place is the last entry that was applied. It does not wait for the machine: raft asks.
func (a *applier) place() fsm.Place { return *a.at.Load() }

// reached notes how far the machine is, and wakes who waits for that.
func (a *applier) reached() {
	index, term, clock := a.n.state.Machine().Applied()
	a.at.Store(&fsm.Place{Index: index, Term: term})
	a.clock.saw(clock)
	a.wake(index)
}

// waiter returns a channel that is closed when the state machine has reached index, and
// what its caller calls when it waits no more: the index may be one that never comes.
func (a *applier) waiter(index uint64) (reached <-chan struct{}, forget func()) {
	ready := make(chan struct{})
	a.mu.Lock()
	defer a.mu.Unlock()
	// Asked under the lock: wake cannot come between.
	if a.n.state.Machine().AppliedIndex() >= index {
		close(ready)
		return ready, func() {}
	}
	a.waiters[ready] = index
	return ready, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.waiters, ready)
	}
}

func (a *applier) wake(index uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for ready, wanted := range a.waiters {
		if wanted <= index {
			close(ready)
			delete(a.waiters, ready)
		}
	}
}

// Snapshot implements raft.FSM: it only notes the index that state.db must reach.
func (a *applier) Snapshot() (raft.FSMSnapshot, error) {
	if err := a.failure(); err != nil {
		return nil, err // raft would drop the entries that were not applied
	}
	return &snapshot{a.n.state, a.n.state.Machine().AppliedIndex()}, nil
}

// Restore implements raft.FSM. A leader that has lost track of this server may send a
// snapshot that is older than its state. The state does not go back then: a read that
// waited for an index would miss what it waited for. Raft applies the entries behind
// the snapshot again, and the machine skips what it has. What is to be restored is where
// the snapshot store has received it.
func (a *applier) Restore(io.ReadCloser) error {
	if err := a.failure(); err != nil {
		return err
	}
	// Whatever fails behind it, the state may be another one from here on. Where it is tried again,
	// it is found to have been taken over.
	defer func() {
		a.reached()
		a.n.placesChanged()
		a.logBytes, a.logFrom = 0, 0
	}()
	if at, ok := a.n.snapshots.Newest(); ok && a.n.state.Machine().AppliedIndex() >= at.StateIndex {
		_, err := a.n.snapshots.Heal() // forgets what was received
		return err
	}
	return a.n.snapshots.TakeOver()
}

type snapshot struct {
	state *store.State
	index uint64
}

// Persist implements raft.FSMSnapshot. It asks the flusher's file to be up to date:
// there is nothing else to write.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.state.Flush(); err != nil {
		return err
	}
	p, ok := sink.(store.Promiser)
	if !ok {
		return fmt.Errorf("node: snapshot sink is a %T", sink)
	}
	p.Promise(s.index)
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (s *snapshot) Release() {}

var _ raft.BatchingFSM = (*applier)(nil)
