package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/internal/latency"
	"github.com/rota-scheduler/rota/internal/stopwatch"
	"github.com/rota-scheduler/rota/node/raftlog"
	"github.com/rota-scheduler/rota/node/raftnet"
	"github.com/rota-scheduler/rota/task"
)

// stateMachine is where the state machine is. Ask each time: a received snapshot brings another one.
type stateMachine interface{ Machine() *fsm.Machine }

// applierConfig is what an applier uses of the rest of the server.
type applierConfig struct {
	state    appliedState
	received receivedState
	flusher  applyBrake
	// clock is told of the time of the newest entry.
	clock *stateClock
	// ending ends when the server does.
	ending context.Context
	// snapshotBytes is how much of the log is applied between two snapshots, and snapshotDue asks for one. It
	// is told the average size of the entries, bytes.
	snapshotBytes int64
	snapshotDue   func(average int64)
	// placesChanged says that there may be other servers, or that some may be elsewhere.
	placesChanged func()
	// fatal ends the server.
	fatal func(error)
}

// appliedState is the state, as far as an applier uses it.
type appliedState interface {
	stateMachine
	Flush() error
}

// receivedState is what another server has sent of the state: package store keeps it.
type receivedState interface {
	// Newest is the newest snapshot, received or not.
	Newest() (store.SnapshotPlace, bool)
	// Heal forgets what was received if the state has it; TakeOver makes it the state.
	Heal() (bool, error)
	TakeOver() error
}

// applyBrake holds Apply up while too much waits for state.db.
type applyBrake interface{ Applied(ctx context.Context) }

// applier is the raft.FSM: a thin layer over the machine.
type applier struct {
	cfg applierConfig

	// failed is set when an entry could not be applied: nothing behind it may be.
	failed atomic.Bool
	// step measures the entry under way, or the wait for the disk behind a batch of entries. A batch
	// may take long if there is much to do; that is no disk that stalls.
	step stopwatch.Stopwatch
	// took is how long batches have taken.
	took latency.Histogram

	// at is the last entry that was applied.
	at atomic.Pointer[fsm.Place]

	mu sync.Mutex
	// waiters wait for an index each.
	waiters map[chan struct{}]uint64

	// logBytes is how much of the log was applied behind logFrom, where the last snapshot
	// was asked for.
	logBytes int64
	logFrom  uint64

	// serverChanges is how often the recorded servers had changed when placesChanged was called last.
	serverChanges uint64
}

// newApplier returns an applier that goes on from where the state is.
func newApplier(cfg applierConfig) *applier {
	a := &applier{cfg: cfg, waiters: map[chan struct{}]uint64{}}
	a.reached()
	return a
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
	defer func() { a.took.Add(time.Since(began)) }()
	m := a.cfg.state.Machine()
	configured := false
	for i, l := range logs {
		a.step.Start()
		results, err := applyEntry(m, l)
		if err != nil {
			a.failed.Store(true)
			a.cfg.fatal(mustStop(err))
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
		a.cfg.placesChanged()
	}
	if a.logFrom == 0 {
		a.logFrom = logs[0].Index - 1
	}
	if a.logBytes >= a.cfg.snapshotBytes {
		last := logs[len(logs)-1].Index
		// Not all entries come here, and raft counts all.
		a.cfg.snapshotDue(max(1, a.logBytes/int64(last-a.logFrom)))
		a.logBytes, a.logFrom = 0, last
	}
	a.step.Start()
	a.cfg.flusher.Applied(a.cfg.ending)
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

// failure is why nothing is applied any more, or nil. Raft does not know of it, so
// whoever relies on what raft says was applied must ask here.
func (a *applier) failure() error {
	if a.failed.Load() {
		return errors.New("an entry of the log could not be applied: this server must stop")
	}
	return nil
}

// applying is how long the entry under way has taken so far; 0: none is under way.
func (a *applier) applying() time.Duration { return a.step.Running() }

// place is the last entry that was applied. It does not wait for the machine, because raft asks.
func (a *applier) place() fsm.Place { return *a.at.Load() }

// reached notes how far the machine is, and wakes those who wait for that.
func (a *applier) reached() {
	index, term, clock := a.cfg.state.Machine().Applied()
	a.at.Store(&fsm.Place{Index: index, Term: term})
	a.cfg.clock.saw(clock)
	a.wake(index)
}

// wait returns when the state machine has reached index, or ctx ends, or the server does.
func (a *applier) wait(ctx context.Context, index uint64) error {
	reached, forget := a.waiter(index)
	defer forget()
	select {
	case <-reached:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-a.cfg.ending.Done():
		return &task.Error{Kind: task.KindUnavailable, Msg: "the server is shutting down"}
	}
}

// waiter returns a channel that is closed when the state machine has reached index. The caller calls
// forget when it waits no more: the index may be one that never comes.
func (a *applier) waiter(index uint64) (reached <-chan struct{}, forget func()) {
	ready := make(chan struct{})
	a.mu.Lock()
	defer a.mu.Unlock()
	// Asked under the lock: wake cannot come between.
	if a.cfg.state.Machine().AppliedIndex() >= index {
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
	return &snapshot{a.cfg.state, a.cfg.state.Machine().AppliedIndex()}, nil
}

// Restore implements raft.FSM. A leader that has lost track of this server may send a
// snapshot that is older than its state. The state does not go back then: a read that
// waited for an index would miss what it waited for. Raft applies the entries behind
// the snapshot again, and the machine skips those that it has. The snapshot store has
// what was received.
func (a *applier) Restore(io.ReadCloser) error {
	if err := a.failure(); err != nil {
		return err
	}
	// Whatever fails from here on, the state may be another one already. If raft tries again, the
	// first look finds that it was taken over.
	defer func() {
		a.reached()
		a.cfg.placesChanged()
		a.logBytes, a.logFrom = 0, 0
	}()
	if at, ok := a.cfg.received.Newest(); ok && a.cfg.state.Machine().AppliedIndex() >= at.StateIndex {
		_, err := a.cfg.received.Heal()
		return err
	}
	return a.cfg.received.TakeOver()
}

type snapshot struct {
	state appliedState
	index uint64
}

// Persist implements raft.FSMSnapshot. It brings state.db up to date: there is nothing
// else to write.
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
