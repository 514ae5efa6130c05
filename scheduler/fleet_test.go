package scheduler_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/scheduler"
	"github.com/rota-scheduler/rota/task"
)

// fakeStream notes what it is told.
type fakeStream struct {
	grants []fsm.Grant
	stops  int
	ended  int
}

func (s *fakeStream) Grant(g fsm.Grant)          { s.grants = append(s.grants, g) }
func (s *fakeStream) Stop(uint64, uint32, int64) { s.stops++ }
func (s *fakeStream) End(bool)                   { s.ended++ }

func session(id uint64) fsm.Session { return fsm.Session{Session: &logpb.Session{Id: id}} }

const lease = 10 * time.Second

func TestNewLeaderGivesFullLeases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := scheduler.NewFleet(lease)
		time.Sleep(time.Hour)
		f.Begin([]fsm.Session{session(1)})
		time.Sleep(lease)
		require.Empty(t, f.Expired())
		time.Sleep(time.Millisecond)
		require.Equal(t, []uint64{1}, f.Expired())
	})
}

func TestBeatsRenewTheLeaseOfTheirOwnStreamOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := scheduler.NewFleet(lease)
		f.Begin(nil)
		old, current := &fakeStream{}, &fakeStream{}
		require.True(t, f.Attach(1, old))
		require.True(t, f.Attach(1, current))
		require.Equal(t, 1, old.ended, "a stream that is replaced ends")
		time.Sleep(lease)
		require.False(t, f.Beat(1, old, nil))
		require.True(t, f.Beat(1, current, nil))
		time.Sleep(lease)
		require.Empty(t, f.Expired())
	})
}

// A beat that comes while its session is being closed is not answered: the lease it would
// renew is over, and what the session holds is about to be given away.
func TestNothingRenewsTheLeaseOfASessionThatIsBeingClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := scheduler.NewFleet(lease)
		f.Begin(nil)
		s := &fakeStream{}
		require.True(t, f.Attach(1, s))
		require.False(t, f.Close(1), "its lease has not ended")
		time.Sleep(lease + time.Millisecond)
		require.True(t, f.Close(1))
		require.False(t, f.Beat(1, s, nil))
		require.False(t, f.Attach(1, &fakeStream{}), "nor does a new stream renew it")
		f.Renew()
		require.False(t, f.Beat(1, s, nil))
		f.Keep(1)
		require.True(t, f.Beat(1, s, nil))
		time.Sleep(lease + time.Millisecond)
		require.True(t, f.Beat(1, s, nil), "nobody has closed it yet")
		require.False(t, f.Close(1))
	})
}

func TestFollowerRefusesStreams(t *testing.T) {
	t.Parallel()
	f := scheduler.NewFleet(lease)
	require.False(t, f.Attach(1, &fakeStream{}))
	f.Begin(nil)
	s := &fakeStream{}
	require.True(t, f.Attach(1, s))
	f.End()
	require.Equal(t, 1, s.ended)
	require.False(t, f.Attach(1, &fakeStream{}))
	require.False(t, f.Beat(1, s, nil))
}

func TestGrantsGoToTheCurrentStream(t *testing.T) {
	t.Parallel()
	f := scheduler.NewFleet(lease)
	f.Begin([]fsm.Session{session(1)})
	f.Granted(fsm.Grant{Session: 1}) // nobody is there: sent when it attaches
	s := &fakeStream{}
	require.True(t, f.Attach(1, s))
	f.Granted(fsm.Grant{Session: 1, Job: 5})
	f.Stopping(1, 5, 0, 0)
	require.Equal(t, []fsm.Grant{{Session: 1, Job: 5}}, s.grants)
	require.Equal(t, 1, s.stops)
	f.Detach(1, s)
	f.Granted(fsm.Grant{Session: 1, Job: 6})
	require.Len(t, s.grants, 1)
	f.SessionClosed(1)
	require.Empty(t, f.Expired())
}

// What a worker may hold beyond its slots follows the run times of its tasks.
func TestExtraFollowsRunTimes(t *testing.T) {
	t.Parallel()
	views := []fsm.SessionView{{ID: 1, Slots: 4}, {ID: 2, Slots: 4}}
	f := scheduler.NewFleet(lease)
	extra := func(at int) int32 {
		f.Extra(views)
		return views[at].Extra
	}
	f.Begin(nil)
	require.True(t, f.Attach(1, &fakeStream{}))
	require.Zero(t, extra(0), "nothing is known")
	require.EqualValues(t, fsm.Away, extra(1), "it is not there")
	f.Ran(1, scheduler.Run{Job: 7, Count: 1000, Total: time.Millisecond})
	require.EqualValues(t, task.MaxOutstanding, extra(0), "no-ops")
	for range 20 {
		f.Ran(1, scheduler.Run{Job: 7, Count: 10, Total: 100 * time.Millisecond})
	}
	require.EqualValues(t, 80, extra(0), "10 ms each: twenty rounds of four slots")
	f.Ran(1, scheduler.Run{Job: 7, Count: 1, Total: time.Minute})
	require.Zero(t, extra(0), "one long task is enough to stop queueing behind it")
	for range 100 {
		f.Ran(1, scheduler.Run{Job: 7, Count: 10, Total: 100 * time.Millisecond})
	}
	require.True(t, f.Attach(2, &fakeStream{}))
	require.InDelta(t, 80, extra(1), 4, "a new worker is taken for one like the others")
	f.End()
	f.Begin(nil)
	require.True(t, f.Attach(2, &fakeStream{}))
	require.Zero(t, extra(1), "a new leader knows nothing")
}

// A worker that was held up for a moment reports a few tasks that took thousands of times as long.
// The shares of all others must not stay small for that; but a task of a second counts at once.
func TestAFewSlowTasksDoNotPassForAll(t *testing.T) {
	t.Parallel()
	f := scheduler.NewFleet(lease)
	f.Begin(nil)
	require.True(t, f.Attach(1, &fakeStream{}))
	noops := scheduler.Run{Job: 7, Count: 1000, Total: 250 * time.Microsecond}
	f.Ran(1, noops)
	f.Ran(1, scheduler.Run{Job: 7, Count: 1, Total: 2 * time.Millisecond})
	require.Less(t, f.Runs()[7], 50*time.Microsecond)
	f.Ran(1, noops)
	require.Less(t, f.Runs()[7], 3*time.Microsecond, "the next share outweighs it")
	f.Ran(1, scheduler.Run{Job: 7, Count: 1, Total: time.Second})
	require.Greater(t, f.Runs()[7], 10*time.Millisecond, "one long task is more than a share is worth")
	f.Ran(1, scheduler.Run{Job: 7, Count: 1, Total: math.MaxInt64})
	require.Greater(t, f.Runs()[7], time.Hour, "an absurd time does not count as a short one")
}

// Run times are known of jobs with many tasks, and of a bounded number of jobs.
func TestRunTimesOfJobs(t *testing.T) {
	t.Parallel()
	f := scheduler.NewFleet(lease)
	f.Begin(nil)
	require.True(t, f.Attach(1, &fakeStream{}))
	f.Ran(1, scheduler.Run{Job: 7, Count: 100, Total: time.Second}, scheduler.Run{Job: 8, Count: 1, Total: time.Second})
	require.Equal(t, map[uint64]time.Duration{7: 10 * time.Millisecond}, f.Runs())
	f.Ran(1, scheduler.Run{Job: 7, Count: 1, Total: 10 * time.Second})
	require.Greater(t, f.Runs()[7], 100*time.Millisecond, "its tasks have turned long")
	// Many workers have one task of this job each, beside jobs that have no more than one.
	for other := range uint64(8) {
		require.NotContains(t, f.Runs(), uint64(9))
		f.Ran(1, scheduler.Run{Job: 9, Count: 1, Total: time.Second}, scheduler.Run{Job: 20 + other, Count: 1, Total: time.Minute})
	}
	require.Equal(t, time.Second, f.Runs()[9])
	for job := range uint64(10_000) {
		f.Ran(1, scheduler.Run{Job: 100 + job, Count: 100, Total: time.Second})
	}
	require.LessOrEqual(t, len(f.Runs()), 1000)
	require.Contains(t, f.Runs(), uint64(100+9999))
	f.End()
	require.Empty(t, f.Runs())
	f.Ran(1, scheduler.Run{Job: 7, Count: 100, Total: time.Second})
	require.Empty(t, f.Runs(), "it does not lead")
}
