package scheduler

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// leader applies what is proposed to a machine, one op in an entry, as a leader of one.
type leader struct {
	// leapt says that the clock is not settled, and behind that the disk does not keep up.
	leapt, behind atomic.Bool

	machine *fsm.Machine
	fleet   *Fleet

	mu    sync.Mutex
	index uint64
	views int
	// proposed counts the ops by type.
	proposed map[string]int
	// due is the jobs that Due names, as long as they are there.
	due []uint64
	// refuse, if set, answers instead of the machine.
	refuse func(*logpb.Op) (fsm.Result, bool)
	// hold, if set, makes an op wait before it is applied.
	hold func(*logpb.Op)
}

type noHistory struct{}

func (noHistory) Key(string, string) (*logpb.KeyRecord, bool)     { return nil, false }
func (noHistory) Job(uint64) (*logpb.JobRecord, bool)             { return nil, false }
func (noHistory) Append(uint64, uint32) (*logpb.AppendMark, bool) { return nil, false }

func (noHistory) Tokens(_ uint64, tasks []task.Range, f func(task.Range, fsm.LastToken)) {
	for _, r := range tasks {
		f(r, fsm.LastToken{})
	}
}

func (l *leader) Machine() *fsm.Machine { l.looked(); return l.machine }
func (l *leader) Now() int64            { return time.Now().UnixNano() }

// kept is the jobs of due that are not forgotten.
func (l *leader) kept() (jobs []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range l.due {
		if !l.machine.Collected(id) {
			jobs = append(jobs, id)
		}
	}
	return jobs
}

func (l *leader) Due(_ int64, limit int) ([]uint64, []*logpb.KeyRef, error) {
	jobs := l.kept()
	return jobs[:min(limit, len(jobs))], nil, nil
}

// Excess counts each job as one byte.
func (l *leader) Excess(room int64, limit int) ([]uint64, error) {
	jobs := l.kept()
	return jobs[:min(limit, max(0, len(jobs)-int(room)))], nil
}

func (l *leader) looked() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.views++
}

func (l *leader) count(of string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.proposed[of]
}

func (l *leader) Propose(_ context.Context, op *logpb.Op) (fsm.Result, error) {
	time.Sleep(time.Millisecond) // a commit takes a moment
	if l.hold != nil {
		l.hold(op)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proposed[fmt.Sprintf("%T", op.Op)]++
	if l.refuse != nil {
		if r, refused := l.refuse(op); refused {
			return r, nil
		}
	}
	data, err := fsm.EncodeEntry(fsm.GateVersion, l.Now(), []*logpb.Op{op})
	if err != nil {
		return fsm.Result{}, err
	}
	l.index++
	results, err := l.machine.Apply(l.index, 1, data)
	if err != nil {
		return fsm.Result{}, err
	}
	return results[0], results[0].Err
}

// onLeader runs f beside the loops of a leader, in a bubble.
func onLeader(t *testing.T, f func(t *testing.T, l *leader)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, stop := startLeader(t, nil)
		f(t, l)
		stop()
	})
}

// startLeader starts the loops of a leader. hold, which may be nil, makes ops wait.
func startLeader(t *testing.T, hold func(*logpb.Op)) (l *leader, stop func()) {
	l = &leader{machine: fsm.New(noHistory{}, fsm.NewWatchers()), fleet: NewFleet(10 * time.Second), proposed: map[string]int{}, hold: hold}
	l.fleet.Begin(nil)
	l.machine.SetObserver(l.fleet)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	loops := &Loops{
		Proposer: l, State: l, Fleet: l.fleet, Logger: slog.New(slog.DiscardHandler), RetentionInterval: time.Hour, RetentionBytes: roomForJobs,
		Settled: func() bool { return !l.leapt.Load() }, Behind: l.behind.Load,
	}
	wg.Go(func() { loops.Run(ctx) })
	return l, func() {
		cancel()
		wg.Wait()
	}
}

func (l *leader) submit(t *testing.T, spec *task.Spec, count uint32) uint64 {
	t.Helper()
	raw, err := fsm.EncodeSpec(spec)
	require.NoError(t, err)
	r, err := l.Propose(t.Context(), &logpb.Op{Op: &logpb.Op_Submit{Submit: &logpb.Submit{Spec: raw, Tasks: &logpb.Tasks{Count: count}}}})
	require.NoError(t, err)
	return r.Job
}

func (l *leader) open(t *testing.T, worker string, slots uint32, handlers ...string) uint64 {
	t.Helper()
	r, err := l.Propose(t.Context(), &logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{
		Session: &logpb.Session{Worker: worker, Nonce: []byte("1"), Slots: slots, Handlers: handlers},
	}}})
	require.NoError(t, err)
	return r.Session
}

// quiet ignores what it is told.
type quiet struct{ ended bool }

func (q *quiet) Grant(fsm.Grant)            {}
func (q *quiet) Stop(uint64, uint32, int64) {}
func (q *quiet) End(bool)                   { q.ended = true }

const (
	plans   = "*logpb.Op_ApplyPlan"
	closes  = "*logpb.Op_CloseSession"
	expires = "*logpb.Op_Expire"

	collects = "*logpb.Op_Collect"
)

func TestABacklogThatNobodyCanTakeIsNotLookedAtAllTheTime(t *testing.T) {
	onLeader(t, func(t *testing.T, l *leader) {
		// More classes, and more tasks, than one view holds.
		for i := range 600 {
			l.submit(t, &task.Spec{Handler: fmt.Sprintf("h%03d", i)}, 100)
		}
		time.Sleep(10 * time.Second)
		l.mu.Lock()
		l.views = 0
		l.mu.Unlock()
		time.Sleep(10 * time.Second)
		l.mu.Lock()
		defer l.mu.Unlock()
		// Three views each second, and those of the lease loop.
		require.Less(t, l.views, 400)
	})
}

func TestEveryClassGetsItsTurn(t *testing.T) {
	onLeader(t, func(t *testing.T, l *leader) {
		for i := range 600 {
			l.submit(t, &task.Spec{Handler: fmt.Sprintf("h%03d", i)}, 100)
		}
		// The classes that these can run are far from the first.
		for _, h := range []string{"h599", "h300", "h001"} {
			require.True(t, l.fleet.Attach(l.open(t, "worker of "+h, 3, h), &quiet{}))
		}
		time.Sleep(3 * time.Second)
		for _, s := range l.machine.Sessions() {
			require.Equal(t, uint32(3), s.Assigned, s.Worker)
		}
	})
}

func TestAPlanThatIsRefusedIsNotMadeAgainAtOnce(t *testing.T) {
	onLeader(t, func(t *testing.T, l *leader) {
		l.mu.Lock()
		l.refuse = func(op *logpb.Op) (fsm.Result, bool) {
			_, plan := op.Op.(*logpb.Op_ApplyPlan)
			return fsm.Result{Refused: 1}, plan
		}
		l.mu.Unlock()
		l.submit(t, &task.Spec{Handler: "h"}, 1)
		require.True(t, l.fleet.Attach(l.open(t, "w", 1, "h"), &quiet{}))
		time.Sleep(time.Second)
		require.NotZero(t, l.count(plans))
		require.LessOrEqual(t, l.count(plans), int(time.Second/retryPause))
	})
}

// The loop sleeps until its next timer, so it must hear of one that comes sooner.
func TestWhatIsDueSoonIsNotSleptThrough(t *testing.T) {
	onLeader(t, func(t *testing.T, l *leader) {
		require.True(t, l.fleet.Attach(l.open(t, "w", 1, "h"), &quiet{}))
		time.Sleep(3 * time.Second) // it has nothing to wait for by now
		delayed := l.submit(t, &task.Spec{Handler: "h", Delay: 100 * time.Millisecond}, 1)
		time.Sleep(110 * time.Millisecond)
		got, _ := l.machine.Task(delayed, 0)
		require.Equal(t, task.Assigned, got.State)

		time.Sleep(3 * time.Second)
		expiring := l.submit(t, &task.Spec{Handler: "nobody's", Expire: 100 * time.Millisecond}, 1)
		time.Sleep(110 * time.Millisecond)
		_, final, _ := l.machine.Progress(expiring)
		require.True(t, final)
	})
}

// One entry ends a bounded number of tasks of a job. Only the leader goes on with the others.
func TestALargeJobThatIsCancelledIsGoneThroughWithoutPause(t *testing.T) {
	onLeader(t, func(t *testing.T, l *leader) {
		const tasks = 18_000
		job := l.submit(t, &task.Spec{Handler: "h", Expire: time.Hour}, tasks)
		session := l.open(t, "w", task.MaxSlots, "h")
		_, err := l.Propose(t.Context(), &logpb.Op{Op: &logpb.Op_ApplyPlan{ApplyPlan: &logpb.ApplyPlan{Assign: []*logpb.Assign{{Job: job, Count: tasks, Session: session}}}}})
		require.NoError(t, err)
		time.Sleep(3 * time.Second)
		r, err := l.Propose(t.Context(), &logpb.Op{Op: &logpb.Op_Cancel{Cancel: &logpb.Cancel{Job: job, Reason: uint32(task.ReasonUser)}}})
		require.NoError(t, err)
		require.EqualValues(t, tasks, r.Stopping)
		time.Sleep(100 * time.Millisecond)
		rec, _ := l.machine.Job(job)
		require.EqualValues(t, tasks, rec.Counts[task.Stopping])
		require.LessOrEqual(t, l.count(expires), tasks/1000, "an entry for some thousands of them")
	})
}

// Thousands of large jobs may be due. Grants do not wait for them.
func TestWhatIsDueWaitsWhileTheDiskIsBehind(t *testing.T) {
	onLeader(t, func(t *testing.T, l *leader) {
		l.behind.Store(true)
		expiring := l.submit(t, &task.Spec{Handler: "nobody's", Expire: 100 * time.Millisecond}, 1)
		require.True(t, l.fleet.Attach(l.open(t, "w", 1, "h"), &quiet{}))
		time.Sleep(10 * time.Second)
		require.Zero(t, l.count(expires))
		job := l.submit(t, &task.Spec{Handler: "h"}, 1)
		time.Sleep(50 * time.Millisecond)
		got, _ := l.machine.Task(job, 0)
		require.Equal(t, task.Assigned, got.State)
		l.behind.Store(false)
		time.Sleep(50 * time.Millisecond)
		_, final, _ := l.machine.Progress(expiring)
		require.True(t, final)
	})
}

func TestASessionWhoseWorkerNeverAttachedExpires(t *testing.T) {
	onLeader(t, func(t *testing.T, l *leader) {
		l.open(t, "w", 1, "h")
		time.Sleep(9 * time.Second)
		require.Len(t, l.machine.Sessions(), 1)
		time.Sleep(3 * time.Second)
		require.Empty(t, l.machine.Sessions())
		require.Equal(t, 1, l.count(closes))
	})
}

func TestASessionThatEndedBeforeItsWorkerAttachedIsForgotten(t *testing.T) {
	onLeader(t, func(t *testing.T, l *leader) {
		id := l.open(t, "w", 1, "h")
		_, err := l.Propose(t.Context(), &logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: &logpb.CloseSession{Id: id}}})
		require.NoError(t, err)
		q := &quiet{}
		require.True(t, l.fleet.Attach(id, q))
		time.Sleep(time.Minute)
		_, known := l.fleet.Status(id)
		require.False(t, known)
		require.True(t, q.ended)
		require.Equal(t, 1, l.count(closes), "nobody closes it again and again")
	})
}

// Its worker would count it as a renewed lease, and go on with tasks that another worker is given.
func TestABeatThatMeetsTheEndOfItsSessionRenewsNothing(t *testing.T) {
	onLeader(t, func(t *testing.T, l *leader) {
		id, q := l.open(t, "w", 1, "h"), &quiet{}
		require.True(t, l.fleet.Attach(id, q))
		renewed := false
		l.mu.Lock()
		l.refuse = func(op *logpb.Op) (fsm.Result, bool) {
			if _, closes := op.Op.(*logpb.Op_CloseSession); closes {
				renewed = l.fleet.Beat(id, q, nil)
			}
			return fsm.Result{}, false
		}
		l.mu.Unlock()
		time.Sleep(15 * time.Second)
		require.Empty(t, l.machine.Sessions())
		require.True(t, q.ended)
		require.False(t, renewed)
	})
}

// The leader looks for what else has expired, and whether it stood still itself, whatever the
// log is busy with.
func TestASessionThatIsSlowToCloseHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var first uint64
		release := make(chan struct{})
		hold := func(op *logpb.Op) {
			if c := op.GetCloseSession(); c != nil && c.Id == first {
				<-release
			}
		}
		l, stop := startLeader(t, hold)
		defer stop()
		first = l.open(t, "w1", 1, "h")
		time.Sleep(5 * time.Second)
		second := l.open(t, "w2", 1, "h")
		time.Sleep(12 * time.Second)
		_, open := l.machine.Session(first)
		require.True(t, open)
		_, open = l.machine.Session(second)
		require.False(t, open)
		close(release)
		time.Sleep(time.Second)
		require.Empty(t, l.machine.Sessions())
		require.Equal(t, 2, l.count(closes), "none is closed twice")
	})
}

func TestManySessionsExpireTogether(t *testing.T) {
	onLeader(t, func(t *testing.T, l *leader) {
		for i := range 1000 {
			l.open(t, fmt.Sprintf("w%d", i), 1, "h")
		}
		l.fleet.Renew()
		time.Sleep(10 * time.Second)
		began := time.Now()
		for len(l.machine.Sessions()) > 0 {
			time.Sleep(time.Millisecond)
		}
		require.Less(t, time.Since(began), 2*time.Second)
	})
}

// roomForJobs is how many jobs the leaders of these tests have room for.
const roomForJobs = 1000

// end makes jobs and cancels them.
func (l *leader) end(t *testing.T, spec *task.Spec, jobs int) {
	for range jobs {
		id := l.submit(t, spec, 1)
		_, err := l.Propose(t.Context(), &logpb.Op{Op: &logpb.Op_Cancel{Cancel: &logpb.Cancel{Job: id, Reason: uint32(task.ReasonUser)}}})
		require.NoError(t, err)
		l.mu.Lock()
		l.due = append(l.due, id)
		l.mu.Unlock()
	}
}

func TestAllThatIsDueIsForgottenAtOneTick(t *testing.T) {
	onLeader(t, func(t *testing.T, l *leader) {
		l.end(t, &task.Spec{Handler: "h", Retention: time.Minute}, 5*collectBatch+1)
		time.Sleep(time.Hour)
		require.Empty(t, l.kept())
		// What cannot be forgotten yet is not named again and again.
		l.end(t, &task.Spec{Handler: "h", Retention: 24 * time.Hour}, collectBatch+1)
		before := l.count(collects)
		time.Sleep(time.Hour)
		require.Equal(t, 1, l.count(collects)-before)
		require.Len(t, l.kept(), collectBatch+1)
	})
}

func TestJobsGoBeforeTheirTimeForWantOfRoom(t *testing.T) {
	onLeader(t, func(t *testing.T, l *leader) {
		l.end(t, &task.Spec{Handler: "h", Retention: 24 * time.Hour}, roomForJobs+collectBatch+1)
		time.Sleep(time.Hour)
		kept := l.kept()
		require.Len(t, kept, roomForJobs, "those that have room stay")
		require.Equal(t, l.due[collectBatch+1], kept[0], "the first ones go first")
	})
}

// A clock that has leapt may take today's jobs for old ones.
func TestNothingIsCleanedUpWhileTheClockIsNotSettled(t *testing.T) {
	onLeader(t, func(t *testing.T, l *leader) {
		l.leapt.Store(true)
		l.end(t, &task.Spec{Handler: "h", Retention: time.Minute}, 3)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		require.Len(t, l.kept(), 3)
		l.leapt.Store(false)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Empty(t, l.kept())
	})
}

// While the clock is not settled, for an hour, no worker loses tasks. A worker that rests is granted tasks again all
// the same.
func TestAWorkerThatWasSilentRestsNoLongerThoughTheClockHasLeapt(t *testing.T) {
	onLeader(t, func(t *testing.T, l *leader) {
		session := l.open(t, "w", 1, "h")
		s := &quiet{}
		require.True(t, l.fleet.Attach(session, s))
		l.fleet.rest(session)
		l.leapt.Store(true)
		job := l.submit(t, &task.Spec{Handler: "h"}, 1)
		for range overduePause / time.Second {
			time.Sleep(time.Second)
			require.True(t, l.fleet.Beat(session, s, nil))
		}
		time.Sleep(time.Second)
		got, _ := l.machine.Task(job, 0)
		require.Equal(t, task.Assigned, got.State)
	})
}
