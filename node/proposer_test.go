package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// idle is a proposer that sends nothing, so that what waits can be looked at.
func idle() *proposer {
	return &proposer{weigh: fsm.Named, supports: func(*logpb.Op) error { return nil }, changed: sync.NewCond(new(sync.Mutex))}
}

func sized(op *logpb.Op, bytes int) *logpb.Op {
	switch o := op.Op.(type) {
	case *logpb.Op_Submit:
		o.Submit.Tasks = &logpb.Tasks{Count: 1, Packed: make([]byte, bytes)}
	case *logpb.Op_Report:
		o.Report.Groups = []*logpb.ReportGroup{{PackedOutputs: make([]byte, bytes)}}
	}
	return op
}

func aSubmit() *logpb.Op { return &logpb.Op{Op: &logpb.Op_Submit{Submit: &logpb.Submit{}}} }
func aPlan() *logpb.Op   { return &logpb.Op{Op: &logpb.Op_ApplyPlan{ApplyPlan: &logpb.ApplyPlan{}}} }
func aReport() *logpb.Op { return &logpb.Op{Op: &logpb.Op_Report{Report: &logpb.Report{}}} }

func aClose() *logpb.Op {
	return &logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: &logpb.CloseSession{}}}
}

// naming is a report of so many tasks, in a few bytes.
func naming(tasks uint32) *logpb.Op {
	op := aReport()
	op.GetReport().Groups = []*logpb.ReportGroup{{Ranges: []*logpb.Range{{Count: tasks}}}}
	return op
}

func queue(t *testing.T, p *proposer, ops ...*logpb.Op) {
	t.Helper()
	for _, op := range ops {
		p.propose(op, func(_ fsm.Result, err error) { require.NoError(t, err) })
	}
}

// atOnce is a time at which nothing has waited for long.
var atOnce time.Time

func kinds(batch []proposal) (out []string) {
	for _, b := range batch {
		out = append(out, fmt.Sprintf("%T", b.op.Op))
	}
	return out
}

func TestWhatFreesSlotsGoesFirst(t *testing.T) {
	t.Parallel()
	p := idle()
	queue(t, p, aSubmit(), aPlan(), aSubmit(), aReport(), aPlan(), aReport())
	require.Equal(t, []string{
		"*logpb.Op_Report", "*logpb.Op_Report", "*logpb.Op_ApplyPlan", "*logpb.Op_ApplyPlan", "*logpb.Op_Submit", "*logpb.Op_Submit",
	}, kinds(p.batch(atOnce)))
	require.Empty(t, p.batch(atOnce))
}

// Workers that send results as fast as the log takes them must not keep out everybody else.
func TestALaneThatHasWaitedGoesFirstInEveryOtherEntry(t *testing.T) {
	t.Parallel()
	const report, plan, submit = "*logpb.Op_Report", "*logpb.Op_ApplyPlan", "*logpb.Op_Submit"
	synctest.Test(t, func(t *testing.T) {
		p := idle()
		for range 6 {
			queue(t, p, sized(aReport(), maxEntryBytes/2+1))
		}
		queue(t, p, aSubmit(), sized(aSubmit(), maxEntryBytes/2), aSubmit())
		time.Sleep(lanePatience - time.Nanosecond)
		queue(t, p, aPlan())
		require.Equal(t, []string{report}, kinds(p.batch(time.Now())))
		time.Sleep(time.Nanosecond)
		require.Equal(t, []string{submit, submit, submit}, kinds(p.batch(time.Now())), "and no report that does not fit, nor a plan before it")
		queue(t, p, aSubmit())
		time.Sleep(lanePatience)
		require.Equal(t, []string{report}, kinds(p.batch(time.Now())), "every other one")
		require.Equal(t, []string{plan, submit, report}, kinds(p.batch(time.Now())))
		require.Equal(t, []string{report}, kinds(p.batch(time.Now())))
		require.Equal(t, []string{report}, kinds(p.batch(time.Now())))
		require.Equal(t, []string{report}, kinds(p.batch(time.Now())))
		require.Empty(t, p.batch(time.Now()))
	})
}

// The same, with a log.
func TestSubmitsGoOnWhileReportsFillTheLog(t *testing.T) {
	t.Parallel()
	n := start(t, config(t, t.TempDir()))
	op := &logpb.Op{Op: &logpb.Op_Report{Report: &logpb.Report{Session: 1 << 40, Groups: []*logpb.ReportGroup{{
		Job: 1 << 40, Outcome: uint32(task.OutcomeSucceeded), Ranges: []*logpb.Range{{Count: 1}}, PackedOutputs: task.PackAppend(nil, make([]byte, task.MaxPayload)),
	}}}}}
	const workers = 32
	var flood sync.WaitGroup
	var enough atomic.Bool
	defer flood.Wait()
	defer enough.Store(true)
	for range workers {
		flood.Add(1)
		var again func(fsm.Result, error)
		again = func(_ fsm.Result, err error) {
			if err != nil || enough.Load() {
				flood.Done()
				return
			}
			n.ProposeAsync(op, again)
		}
		n.ProposeAsync(op, again)
	}
	for i := range 5 {
		submitted := func() bool {
			_, err := n.Propose(t.Context(), submitOp(t, fmt.Sprint(i)))
			return err == nil
		}
		require.Eventually(t, submitted, patience, time.Millisecond, "submit %d", i)
	}
}

// While the log stands still and nothing comes, a submit that waits is refused in time: its
// caller would otherwise give up and not know what became of it.
func TestASubmitIsRefusedWhileNothingHappens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := idle() // no entry may be in flight
		p.changed = sync.NewCond(&p.mu)
		var sender sync.WaitGroup
		sender.Go(func() { require.Empty(t, p.take()) })
		refused := make(chan error, 2)
		for range 2 {
			p.propose(aSubmit(), func(_ fsm.Result, err error) { refused <- err })
			time.Sleep(time.Second)
		}
		for range 2 {
			select {
			case err := <-refused:
				require.ErrorIs(t, err, task.ErrExhausted)
			case <-time.After(maxSubmitWait + time.Second):
				t.Fatal("it waits for ever")
			}
		}
		p.close()
		sender.Wait()
	})
}

func TestLanesAreOrdered(t *testing.T) {
	t.Parallel()
	for op, want := range map[*logpb.Op]lane{
		aSubmit():                     submitLane,
		{Op: &logpb.Op_AppendTasks{}}: submitLane,
		aPlan():                       planLane,
		aReport():                     controlLane,
		{Op: &logpb.Op_CloseTasks{}}:  controlLane, {Op: &logpb.Op_Cancel{}}: controlLane, {Op: &logpb.Op_OpenSession{}}: controlLane,
		{Op: &logpb.Op_CloseSession{}}: controlLane, {Op: &logpb.Op_Overdue{}}: controlLane, {Op: &logpb.Op_Expire{}}: controlLane, {Op: &logpb.Op_Collect{}}: controlLane,
	} {
		require.Equal(t, want, laneOf(op), "%T", op.Op)
	}
}

func TestEntriesAreBounded(t *testing.T) {
	t.Parallel()
	t.Run("in bytes", func(t *testing.T) {
		t.Parallel()
		p := idle()
		for range 10 {
			queue(t, p, sized(aSubmit(), maxEntryBytes/4))
		}
		for left := 10; left > 0; {
			batch := p.batch(atOnce)
			size := 0
			for _, b := range batch {
				size += b.size
			}
			require.LessOrEqual(t, size, maxEntryBytes)
			require.NotEmpty(t, batch)
			left -= len(batch)
		}
		require.Zero(t, p.bytes[submitLane])
	})
	t.Run("but for one op that is larger", func(t *testing.T) {
		t.Parallel()
		p := idle()
		queue(t, p, sized(aSubmit(), 4*maxEntryBytes), aSubmit())
		require.Len(t, p.batch(atOnce), 1)
		require.Len(t, p.batch(atOnce), 1)
	})
	t.Run("and a later lane does not pass an op that waits", func(t *testing.T) {
		t.Parallel()
		p := idle()
		queue(t, p, aReport(), sized(aReport(), maxEntryBytes), aSubmit())
		require.Equal(t, []string{"*logpb.Op_Report"}, kinds(p.batch(atOnce)))
		require.Equal(t, []string{"*logpb.Op_Report"}, kinds(p.batch(atOnce)))
		require.Equal(t, []string{"*logpb.Op_Submit"}, kinds(p.batch(atOnce)))
	})
	t.Run("in tasks", func(t *testing.T) {
		t.Parallel()
		p := idle()
		for range 10 {
			queue(t, p, naming(fsm.MaxReported/4), naming(1))
		}
		for left := 20; left > 0; {
			batch := p.batch(atOnce)
			weight := 0
			for _, b := range batch {
				weight += b.weight
			}
			require.LessOrEqual(t, weight, fsm.MaxEntryTasks)
			require.NotEmpty(t, batch)
			left -= len(batch)
		}
		queue(t, p, naming(1), naming(fsm.MaxReported), naming(1))
		require.Len(t, p.batch(atOnce), 1)
		require.Len(t, p.batch(atOnce), 1, "one op alone may name as many as an op may")
		require.Len(t, p.batch(atOnce), 1)
	})
	t.Run("in ops", func(t *testing.T) {
		t.Parallel()
		p := idle()
		for range maxEntryOps + 1 {
			queue(t, p, aPlan())
		}
		require.Len(t, p.batch(atOnce), maxEntryOps)
		require.Len(t, p.batch(atOnce), 1)
	})
}

func TestLanesAreBounded(t *testing.T) {
	t.Parallel()
	requireExhausted := func(t *testing.T, p *proposer, op *logpb.Op) {
		t.Helper()
		called := false
		p.propose(op, func(_ fsm.Result, err error) {
			called = true
			var e *task.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, task.KindExhausted, e.Kind)
			require.Positive(t, e.RetryAfter)
		})
		require.True(t, called)
	}
	t.Run("in ops", func(t *testing.T) {
		t.Parallel()
		p := idle()
		op := aSubmit()
		for range laneOps {
			queue(t, p, op)
		}
		requireExhausted(t, p, op)
		queue(t, p, aReport()) // the other lanes have room
		for range laneOps / maxEntryOps {
			p.batch(atOnce)
		}
		queue(t, p, op)
	})
	t.Run("reports in ops", func(t *testing.T) {
		t.Parallel()
		p := idle()
		for range reportOps {
			queue(t, p, aReport())
		}
		requireExhausted(t, p, aReport())
		queue(t, p, aClose()) // what keeps and ends sessions has room
		p.batch(atOnce)
		queue(t, p, aReport())
	})
	t.Run("reports in bytes", func(t *testing.T) {
		t.Parallel()
		p := idle()
		large := sized(aReport(), reportBytes/2-100)
		queue(t, p, large, large)
		requireExhausted(t, p, large)
		queue(t, p, aClose(), sized(aReport(), 1))
		p.batch(atOnce)
		queue(t, p, large)
		for len(p.batch(atOnce)) > 0 {
			continue
		}
		require.Zero(t, p.reports)
	})
	t.Run("in bytes", func(t *testing.T) {
		t.Parallel()
		p := idle()
		op := sized(aSubmit(), laneBytes/2-100)
		queue(t, p, op, op)
		requireExhausted(t, p, op)
		p.batch(atOnce)
		queue(t, p, op)
	})
}

// A lane that takes longer to clear than clients wait would be full of requests that nobody waits for: each client
// sends its request again, and none is ever answered in time.
func TestSubmitsThatWaitTooLongForTheLogAreRefusedAndNotProposed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := idle()
		p.cfg.entriesInFlight = 1
		var refused []error
		for range 3 {
			p.propose(sized(aSubmit(), 1000), func(_ fsm.Result, err error) { refused = append(refused, err) })
		}
		queue(t, p, aReport())
		time.Sleep(maxSubmitWait + time.Millisecond)
		queue(t, p, aSubmit())

		require.Equal(t, []string{"*logpb.Op_Report", "*logpb.Op_Submit"}, kinds(p.take()))
		require.Len(t, refused, 3)
		for _, err := range refused {
			var e *task.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, task.KindExhausted, e.Kind)
			require.Positive(t, e.RetryAfter)
		}
		require.Zero(t, p.bytes[submitLane])
		require.Empty(t, p.lanes[submitLane])
	})
}

func TestWhatWaitsIsAnsweredAtTheEnd(t *testing.T) {
	t.Parallel()
	p := idle()
	var answers []error
	done := func(_ fsm.Result, err error) { answers = append(answers, err) }
	p.propose(aSubmit(), done)
	p.propose(aReport(), done)
	p.abort()
	p.propose(aSubmit(), done)
	require.Len(t, answers, 3)
	for _, err := range answers {
		require.ErrorIs(t, err, task.ErrUnavailable)
	}
	require.Nil(t, p.take())
}

// Only three of raft's errors mean for sure that an entry has no effect. After any other error it may still be
// committed.
func TestOnlyWhatIsSureIsADefiniteFailure(t *testing.T) {
	t.Parallel()
	n := start(t, config(t, t.TempDir()))
	for err, want := range map[error]task.Kind{
		raft.ErrNotLeader:                    task.KindUnavailable,
		raft.ErrLeadershipTransferInProgress: task.KindUnavailable,
		raft.ErrEnqueueTimeout:               task.KindExhausted,
		raft.ErrLeadershipLost:               task.KindUnknownOutcome,
		raft.ErrAbortedByRestore:             task.KindUnknownOutcome,
		raft.ErrRaftShutdown:                 task.KindUnknownOutcome,
		raft.ErrLeader:                       task.KindUnknownOutcome,
		raft.ErrNotVoter:                     task.KindUnknownOutcome,
		raft.ErrCantBootstrap:                task.KindUnknownOutcome,
		raft.ErrNothingNewToSnapshot:         task.KindUnknownOutcome,
		raft.ErrTransportShutdown:            task.KindUnknownOutcome,
		syscall.ENOSPC:                       task.KindUnknownOutcome,
		syscall.EIO:                          task.KindUnknownOutcome,
		errors.New("anything else"):          task.KindUnknownOutcome,
	} {
		require.Equal(t, want, task.KindOf(n.proposer.failure(err)), "%v", err)
		require.Equal(t, want, task.KindOf(n.proposer.failure(fmt.Errorf("wrapped: %w", err))), "%v", err)
	}
}

func TestARequestThatEndsEarlyHasAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	n := start(t, config(t, t.TempDir()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := n.Propose(ctx, submitOp(t, "a"))
	if err != nil { // the answer may have been there first
		require.ErrorIs(t, err, task.ErrUnknownOutcome)
		require.ErrorIs(t, err, context.Canceled)
	}
	require.Equal(t, uint64(1), submit(t, n, "a"), "it has taken effect, and its key finds it")
}

// newTestProposer is one of a server with a state without a file.
func newTestProposer(log entries, inFlight int) *proposer {
	return newProposer(proposerConfig{raft: log, state: newInMemory(), clock: &stateClock{}, leader: hint("n9:1"), entriesInFlight: inFlight})
}

// There is no timer: what arrives while a few entries are in flight becomes the next entry.
func TestWhatArrivesWhileEntriesAreInFlightIsTheNextOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := make(entries, 10)
		p := newTestProposer(log, 2)
		answered := 0
		for range 5 {
			p.propose(aClose(), func(_ fsm.Result, err error) { require.NoError(t, err); answered++ })
			synctest.Wait()
		}
		require.Len(t, log, 2)
		first, second := <-log, <-log
		commit := func(f *future) int {
			entry, err := fsm.DecodeEntry(f.data)
			require.NoError(t, err)
			f.end(make([]fsm.Result, len(entry.Ops)), nil)
			synctest.Wait()
			return len(entry.Ops)
		}
		require.Equal(t, 1, commit(first))
		require.Len(t, log, 1)
		require.Equal(t, 3, commit(<-log), "all that has waited, before the second is committed")
		require.Equal(t, 1, answered, "in the order of the log")
		require.Equal(t, 1, commit(second))
		require.Equal(t, 5, answered)
		p.close()
		p.wait()
	})
}

// Each op gets the result at its own place, and never one of another entry.
func TestOpsGetTheResultsOfTheirEntry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := make(entries, 1)
		p := newTestProposer(log, 1)
		var jobs []uint64
		var errs []error
		done := func(r fsm.Result, err error) { jobs, errs = append(jobs, r.Job), append(errs, err) }
		// propose puts an op into the log alone, and then two together.
		propose := func(response any, err error) {
			p.propose(aSubmit(), done)
			synctest.Wait()
			p.propose(aSubmit(), done)
			p.propose(aSubmit(), done)
			(<-log).end([]fsm.Result{{}}, nil)
			synctest.Wait()
			jobs, errs = nil, nil
			(<-log).end(response, err)
			synctest.Wait()
			require.Len(t, errs, 2)
		}
		propose([]fsm.Result{{Job: 7}, {Job: 8, Err: task.ErrConflict}}, nil)
		require.Equal(t, []uint64{7, 8}, jobs)
		require.NoError(t, errs[0])
		require.ErrorIs(t, errs[1], task.ErrConflict)
		for _, short := range []any{nil, []fsm.Result{{Job: 7}}} {
			propose(short, nil)
			require.ErrorIs(t, errs[0], task.ErrUnknownOutcome, "it is unknown what was applied")
			require.ErrorIs(t, errs[1], task.ErrUnknownOutcome)
		}
		propose(nil, raft.ErrLeadershipLost)
		require.ErrorIs(t, errs[1], task.ErrUnknownOutcome)
		require.ErrorIs(t, errs[1], raft.ErrLeadershipLost)
		propose(nil, raft.ErrNotLeader)
		require.ErrorIs(t, errs[1], errNotHere)
		p.close()
		p.wait()
	})
}
