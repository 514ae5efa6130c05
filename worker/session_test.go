package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// blocker is a handler that tells when it starts and waits to be let go.
type blocker struct {
	started chan uint32
	let     chan struct{}
}

func newBlocker() *blocker { return &blocker{make(chan uint32, 100), make(chan struct{})} }

func (b *blocker) run(ctx context.Context, t *Task) ([]byte, error) {
	b.started <- t.Index
	select {
	case <-b.let:
		return []byte("done"), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func echo(_ context.Context, t *Task) ([]byte, error) { return t.Payload, nil }

func TestAssignmentsRunAndAreReportedOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Slots: 4, Handlers: map[string]Handler{"echo": echo}})
	a := handlerWork(1, 0, 500, "echo")
	for i := range 500 {
		a.PackedPayloads = task.PackAppend(a.PackedPayloads, fmt.Append(nil, i))
	}
	shared := handlerWork(2, 10, 500, "echo")
	shared.Work.SharedPayload = []byte("same")
	b.assign(t, a, shared)
	eventually(t, "all reports", func() bool { return b.count() >= 1000 })
	for i := range uint32(500) {
		require.Equal(t, []noted{{outcome: rotav1.Outcome_OUTCOME_SUCCEEDED, output: fmt.Sprint(i)}}, b.of(1, i))
		require.Equal(t, []noted{{outcome: rotav1.Outcome_OUTCOME_SUCCEEDED, output: "same"}}, b.of(2, 10+i))
	}
	eventually(t, "nothing is held any more", func() bool { return len(b.worker.held.all()) == 0 })
}

func TestTaskTellsWhatItIs(t *testing.T) {
	t.Parallel()
	got := make(chan Task, 1)
	b := setup(t, Config{Slots: 1, Handlers: map[string]Handler{"h": func(_ context.Context, t *Task) ([]byte, error) {
		got <- *t
		return nil, nil
	}}})
	a := handlerWork(7, 3, 1, "h")
	a.Attempt = 2
	a.Work.ArrayFirst, a.Work.ArrayStep = 100, 5
	b.assign(t, a)
	require.Equal(t, Task{Job: 7, Index: 3, Value: 115, Attempt: 2, Token: 7003, JobName: "test", Queue: "default"}, <-got)
}

func TestReportsAreSentAgainOnANewStream(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Slots: 2, Handlers: map[string]Handler{"echo": echo}}, func(d *double) { d.noReports = true })
	b.assign(t, handlerWork(1, 0, 10, "echo"))
	eventually(t, "a report", func() bool { return b.count() > 0 })
	b.set(func() { b.noReports = false; b.reports = map[attempt][]noted{}; b.seqs = nil })
	b.breakStream(t)
	eventually(t, "all reports again", func() bool { return b.count() >= 10 })
	eventually(t, "nothing is held any more", func() bool { return len(b.worker.held.all()) == 0 })
	b.set(func() {
		require.Equal(t, uint64(1), b.seqs[0], "numbers begin anew on each stream")
		require.NotEmpty(t, b.hellos[1].GetHeld(), "what is not answered is held")
		require.Equal(t, uint64(1), b.hellos[1].GetSessionId())
	})
	require.Equal(t, 10, b.count())
}

func TestAssignmentsSentAgainAreIgnored(t *testing.T) {
	t.Parallel()
	var runs atomic.Int32
	block := newBlocker()
	b := setup(t, Config{Slots: 1, Handlers: map[string]Handler{"h": func(ctx context.Context, t *Task) ([]byte, error) {
		runs.Add(1)
		return block.run(ctx, t)
	}}}, func(d *double) { d.noReports = true })
	b.assign(t, handlerWork(1, 0, 4, "h"))
	<-block.started
	b.assign(t, handlerWork(1, 0, 4, "h"))
	b.breakStream(t)
	// Two more than it has: only those are new.
	b.assign(t, handlerWork(1, 0, 6, "h"))
	close(block.let)
	eventually(t, "all have run", func() bool {
		running, _ := b.worker.held.runs()
		return runs.Load() == 6 && running == 0
	})
	// Run, but not answered: still known.
	b.assign(t, handlerWork(1, 0, 6, "h"), handlerWork(2, 0, 1, "h"))
	b.set(func() { b.noReports = false })
	b.breakStream(t)
	require.Equal(t, rotav1.Outcome_OUTCOME_SUCCEEDED, b.await(t, 2, 0).outcome)
	require.Equal(t, int32(7), runs.Load())
}

func TestStopEndsTasksThatWaitAndTasksThatRun(t *testing.T) {
	t.Parallel()
	block := newBlocker()
	b := setup(t, Config{Slots: 1, Handlers: map[string]Handler{"h": block.run}})
	b.assign(t, handlerWork(1, 0, 3, "h"))
	<-block.started
	b.stop(t, held(1, 1, 1))
	require.Equal(t, rotav1.Outcome_OUTCOME_STOPPED, b.await(t, 1, 1).outcome)
	require.Empty(t, b.of(1, 0))
	b.stop(t, held(1, 0, 2))
	b.stop(t, held(1, 0, 2))
	require.Equal(t, rotav1.Outcome_OUTCOME_STOPPED, b.await(t, 1, 0).outcome)
	require.Equal(t, uint32(2), <-block.started, "the one between was never started")
	close(block.let)
	require.Equal(t, rotav1.Outcome_OUTCOME_SUCCEEDED, b.await(t, 1, 2).outcome)
}

func TestStopInABeatAnswerIsObeyed(t *testing.T) {
	t.Parallel()
	block := newBlocker()
	b := setup(t, Config{Slots: 1, Handlers: map[string]Handler{"h": block.run}}, func(d *double) { d.lease = 300 * time.Millisecond })
	b.assign(t, handlerWork(1, 0, 1, "h"))
	<-block.started
	b.set(func() { b.stops = []*rotav1.HeldTasks{held(1, 0, 1)} })
	require.Equal(t, rotav1.Outcome_OUTCOME_STOPPED, b.await(t, 1, 0).outcome)
}

func TestStopOfATaskThatNeverCameIsConfirmedAndItsAssignmentIgnored(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Slots: 1, Handlers: map[string]Handler{"echo": echo}}, func(d *double) { d.noReports = true })
	b.stop(t, held(1, 5, 1))
	require.Equal(t, rotav1.Outcome_OUTCOME_STOPPED, b.await(t, 1, 5).outcome)
	b.assign(t, handlerWork(1, 5, 1, "echo"), handlerWork(2, 0, 1, "echo"))
	require.Equal(t, rotav1.Outcome_OUTCOME_SUCCEEDED, b.await(t, 2, 0).outcome)
	require.Len(t, b.of(1, 5), 1)
	// It ends at once when nothing waits for an answer.
	b.set(func() { b.noReports = false })
	b.breakStream(t)
}

func TestDroppedTasksEndWithoutAReport(t *testing.T) {
	t.Parallel()
	block := newBlocker()
	ended := make(chan error, 1)
	b := setup(t, Config{Slots: 1, Handlers: map[string]Handler{"echo": echo, "h": func(ctx context.Context, t *Task) ([]byte, error) {
		out, err := block.run(ctx, t)
		ended <- err
		return out, err
	}}})
	b.assign(t, handlerWork(1, 0, 2, "h"))
	<-block.started
	b.set(func() {
		b.assigned = nil
		b.welcome = func(_ *rotav1.Hello, w *rotav1.Welcome) { w.Drop = []*rotav1.HeldTasks{held(1, 0, 2)} }
	})
	b.breakStream(t)
	require.ErrorIs(t, <-ended, ErrDropped)
	b.assign(t, handlerWork(2, 0, 1, "echo"))
	b.await(t, 2, 0)
	require.Empty(t, b.of(1, 0))
	require.Empty(t, b.of(1, 1))
}

func TestFailuresSayWhy(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Slots: 1, Handlers: map[string]Handler{
		"fails": func(context.Context, *Task) ([]byte, error) { return nil, errors.New("no luck \xff") },
		"never": func(context.Context, *Task) ([]byte, error) {
			return nil, fmt.Errorf("wrapped: %w", Permanent(errors.New("no hope")))
		},
		"panics": func(context.Context, *Task) ([]byte, error) { panic("oh no") },
		"large":  func(context.Context, *Task) ([]byte, error) { return make([]byte, task.MaxPayload+1), nil },
		"exits":  func(context.Context, *Task) ([]byte, error) { runtime.Goexit(); return nil, nil },
		"most":   func(context.Context, *Task) ([]byte, error) { return make([]byte, task.MaxPayload), nil },
	}})
	for i, name := range []string{"fails", "never", "panics", "large", "exits", "missing", "most"} {
		b.assign(t, handlerWork(uint64(i+1), 0, 1, name))
	}
	fails := b.await(t, 1, 0)
	require.Equal(t, noted{outcome: rotav1.Outcome_OUTCOME_FAILED, reason: rotav1.Reason_REASON_ERROR, err: `no luck \xff`}, fails)
	require.True(t, b.await(t, 2, 0).permanent)
	panics := b.await(t, 3, 0)
	require.Equal(t, rotav1.Outcome_OUTCOME_FAILED, panics.outcome)
	require.Contains(t, panics.err, "panic: oh no")
	require.Contains(t, panics.err, "session_test.go", "the stack is there")
	require.LessOrEqual(t, len(panics.err), task.MaxError)
	large := b.await(t, 4, 0)
	require.True(t, large.permanent)
	require.Contains(t, large.err, "the limit is 262144")
	require.Contains(t, b.await(t, 5, 0).err, "runtime.Goexit")
	require.Contains(t, b.await(t, 6, 0).err, `no handler "missing"`)
	require.Len(t, b.await(t, 7, 0).output, task.MaxPayload)
}

func TestTimeoutFailsTheAttempt(t *testing.T) {
	t.Parallel()
	block := newBlocker()
	b := setup(t, Config{Slots: 1, Handlers: map[string]Handler{"h": block.run}})
	a := handlerWork(1, 0, 1, "h")
	a.Work.Timeout = durationpb.New(20 * time.Millisecond)
	b.assign(t, a)
	got := b.await(t, 1, 0)
	require.Equal(t, rotav1.Outcome_OUTCOME_FAILED, got.outcome)
	require.Equal(t, rotav1.Reason_REASON_TIMEOUT, got.reason)
}

func TestATimeoutKeepsWhatTheHandlerHasByThen(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Slots: 1, Handlers: map[string]Handler{"h": func(ctx context.Context, _ *Task) ([]byte, error) {
		<-ctx.Done()
		return []byte("half"), ctx.Err()
	}}})
	a := handlerWork(1, 0, 1, "h")
	a.Work.Timeout = durationpb.New(20 * time.Millisecond)
	b.assign(t, a)
	got := b.await(t, 1, 0)
	require.Equal(t, rotav1.Reason_REASON_TIMEOUT, got.reason)
	require.Equal(t, "half", got.output)
}

func TestMalformedAssignmentFails(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Slots: 1, Handlers: map[string]Handler{"echo": echo}})
	a := handlerWork(1, 0, 3, "echo")
	a.PackedPayloads = task.PackAppend(nil, []byte("only one"))
	b.assign(t, a, &rotav1.Assignment{JobId: 9})
	require.Contains(t, b.await(t, 1, 2).err, "cut short")
}

func TestTheLeaderIsFoundByHint(t *testing.T) {
	t.Parallel()
	follower := newDouble(t)
	d := newDouble(t)
	follower.refuse = wire.ToStatus(&task.Error{Kind: task.KindUnavailable, Msg: "not the leader", Leader: d.addr})
	b := &bundle{double: d, done: make(chan error, 1)}
	run1(t, Config{Addrs: []string{follower.addr}, Slots: 1, Handlers: map[string]Handler{"echo": echo}}, b.done)
	b.assign(t, handlerWork(1, 0, 1, "echo"))
	b.await(t, 1, 0)
	eventually(t, "the follower is watched", func() bool {
		follower.mu.Lock()
		defer follower.mu.Unlock()
		return follower.watching > 0
	})
}

func TestAnAnnouncedLeaderIsFollowedAtOnce(t *testing.T) {
	t.Parallel()
	one, two, third := newDouble(t), newDouble(t), newDouble(t)
	third.refuse = wire.ToStatus(&task.Error{Kind: task.KindUnavailable, Msg: "not the leader", Leader: one.addr})
	two.term = 2
	two.session = 1
	block := newBlocker()
	run1(t, Config{Addrs: []string{third.addr}, Slots: 1, Handlers: map[string]Handler{"h": block.run}}, make(chan error, 1))
	one.assign(t, handlerWork(1, 0, 1, "h"))
	<-block.started
	third.leaders <- &rotav1.WatchLeaderResponse{Term: 2, Leader: "two", LeaderAddr: two.addr}
	eventually(t, "the new leader is greeted", func() bool {
		two.mu.Lock()
		defer two.mu.Unlock()
		return len(two.hellos) == 1
	})
	two.set(func() {
		require.Equal(t, uint64(2), two.hellos[0].GetTerm())
		require.Len(t, two.hellos[0].GetHeld(), 1)
	})
	close(block.let)
	require.Equal(t, "done", two.await(t, 1, 0).output, "the task ran on")
	require.Empty(t, one.of(1, 0))
}

// A leader that is not ready yet is asked again, and not the server that sent the worker there.
func TestALeaderThatIsNotReadyYetIsAskedAgain(t *testing.T) {
	t.Parallel()
	follower, leader := newDouble(t), newDouble(t)
	follower.refuse = wire.ToStatus(&task.Error{Kind: task.KindUnavailable, Msg: "not the leader", Leader: leader.addr})
	leader.refuse = wire.ToStatus(&task.Error{Kind: task.KindUnavailable, Msg: "not ready", Leader: leader.addr})
	run1(t, Config{Addrs: []string{follower.addr}, Slots: 1, Handlers: map[string]Handler{"echo": echo}}, make(chan error, 1))
	eventually(t, "it is asked again", func() bool {
		leader.mu.Lock()
		defer leader.mu.Unlock()
		return len(leader.hellos) >= 4
	})
	follower.set(func() { require.Len(t, follower.hellos, 1) })
	leader.set(func() { leader.refuse = nil })
	leader.assign(t, handlerWork(1, 0, 1, "echo"))
	leader.await(t, 1, 0)
}

func TestADeposedLeaderIsLeft(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Slots: 1, Handlers: map[string]Handler{"echo": echo}}, func(d *double) {
		d.term, d.lease = 5, 300*time.Millisecond
	})
	b.assign(t, handlerWork(1, 0, 1, "echo"))
	b.await(t, 1, 0)
	b.set(func() { b.beatTerm = 4; b.term = 4 })
	eventually(t, "it asks elsewhere again and again", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.hellos) > 2 && b.hellos[len(b.hellos)-1].GetTerm() == 5
	})
	b.set(func() { b.beatTerm, b.term, b.stream = 0, 6, nil })
	b.assign(t, handlerWork(2, 0, 1, "echo"))
	b.await(t, 2, 0)
}

func TestASilentLeaderIsLeft(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Slots: 1, Handlers: map[string]Handler{"echo": echo}}, func(d *double) {
		d.noBeats, d.lease = true, 200*time.Millisecond
	})
	eventually(t, "the worker came back", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.hellos) >= 2
	})
}

func TestARefusedWorkerEndsWithTheReason(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Slots: 1, Handlers: map[string]Handler{"echo": echo}}, func(d *double) {
		d.refuse = wire.ToStatus(task.Errorf(task.KindInvalid, "queue %q is malformed", "x"))
	})
	require.ErrorContains(t, <-b.done, "is malformed")
}

func TestGracefulStopReturnsWhatWaitsAndFinishesWhatRuns(t *testing.T) {
	t.Parallel()
	block := newBlocker()
	b := setup(t, Config{Slots: 1, StopTimeout: deadline, Handlers: map[string]Handler{"h": block.run}})
	b.assign(t, handlerWork(1, 0, 3, "h"))
	<-block.started
	b.end()
	require.Equal(t, rotav1.Outcome_OUTCOME_RETURNED, b.await(t, 1, 1).outcome)
	require.Equal(t, rotav1.Outcome_OUTCOME_RETURNED, b.await(t, 1, 2).outcome)
	b.assign(t, handlerWork(2, 0, 1, "h"))
	require.Equal(t, rotav1.Outcome_OUTCOME_RETURNED, b.await(t, 2, 0).outcome)
	close(block.let)
	require.NoError(t, <-b.done)
	require.Equal(t, "done", b.await(t, 1, 0).output)
	b.set(func() { require.Equal(t, 1, b.goodbyes) })
}

func TestGracefulStopEndsWhatTakesTooLong(t *testing.T) {
	t.Parallel()
	block := newBlocker()
	b := setup(t, Config{Slots: 1, Handlers: map[string]Handler{"h": block.run}})
	b.assign(t, handlerWork(1, 0, 1, "h"))
	<-block.started
	b.end()
	require.NoError(t, <-b.done)
	require.Equal(t, rotav1.Outcome_OUTCOME_STOPPED, b.await(t, 1, 0).outcome)
}

func TestTasksBehindLongOnesAreReturned(t *testing.T) {
	t.Parallel()
	block := newBlocker()
	b := setup(t, Config{Slots: 2, Handlers: map[string]Handler{"h": block.run}})
	b.assign(t, handlerWork(1, 0, 4, "h"))
	<-block.started
	<-block.started
	require.Equal(t, rotav1.Outcome_OUTCOME_RETURNED, b.await(t, 1, 2).outcome)
	require.Equal(t, rotav1.Outcome_OUTCOME_RETURNED, b.await(t, 1, 3).outcome)
	close(block.let)
	require.Equal(t, "done", b.await(t, 1, 0).output)
}

func TestBadConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	good := Config{Addrs: []string{"a:1"}, Slots: 1, Commands: true}
	for want, change := range map[string]func(*Config){
		"no server address":  func(c *Config) { c.Addrs = nil },
		"slots are out of":   func(c *Config) { c.Slots = task.MaxSlots + 1 },
		"can run nothing":    func(c *Config) { c.Commands = false },
		`handler "x" is nil`: func(c *Config) { c.Handlers = map[string]Handler{"x": nil} },
		"worker name":        func(c *Config) { c.Name = strings.Repeat("n", task.MaxName+1) },
		"queue is empty":     func(c *Config) { c.Queues = []string{""} },
		"label":              func(c *Config) { c.Labels = map[string]string{"a=b": "c"} },
	} {
		cfg := good
		change(&cfg)
		_, err := New(cfg)
		require.ErrorContains(t, err, want)
	}
}
