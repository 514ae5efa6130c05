package fsm_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// beginning is how an incarnation begins at a time.
func beginning(id uint64, cluster string, now int64) *fsm.Beginning {
	return &fsm.Beginning{ID: id, ClusterID: cluster, Cause: fsm.CauseRestore, Now: now, Settle: 30 * time.Second, Configuration: []byte("servers")}
}

func (b *testBundle) initCluster(id string) {
	b.t.Helper()
	b.must(&logpb.Op{Op: &logpb.Op_InitCluster{InitCluster: &logpb.InitCluster{ClusterId: id}}})
}

// begin begins an incarnation, and goes on behind it.
func (b *testBundle) begin(start *fsm.Beginning) {
	b.t.Helper()
	at, err := b.m.BeginIncarnation(start)
	require.NoError(b.t, err)
	require.Greater(b.t, at.Index, b.index)
	b.index, b.clock = at.Index, max(b.clock, start.Now)
	require.Empty(b.t, b.m.CheckInvariants())
}

// copied is another machine with the same state.
func (b *testBundle) copied() *testBundle {
	b.t.Helper()
	c := b.m.TakeBatch()
	require.NotNil(b.t, c)
	b.m.Flushed(c)
	m := fsm.New(nothing{}, fsm.NewWatchers())
	require.NoError(b.t, m.Load(proto.CloneOf(c.Meta), nil, nil, func(func(*fsm.SavedJob) error) error { return nil }))
	return &testBundle{t: b.t, m: m, index: b.index, clock: b.clock}
}

// given is the numbers that a cluster has given out.
type given struct{ tokens, jobs, sessions map[uint64]bool }

// work gives out numbers of each kind: none of them may be in all.
func (b *testBundle) work(all *given, tasks uint32) {
	b.t.Helper()
	fresh := func(seen map[uint64]bool, n uint64) {
		require.False(b.t, seen[n], "%d was given out before", n)
		seen[n] = true
	}
	session := b.openSession("w", tasks)
	fresh(all.sessions, session)
	job := b.submit(&task.Spec{Handler: "h"}, tasks)
	fresh(all.jobs, job)
	require.Equal(b.t, tasks, b.plan(job, 0, tasks, session).Granted)
	for i := range tasks {
		t, known := b.m.Task(job, i)
		require.True(b.t, known)
		fresh(all.tokens, t.Token)
	}
	require.NoError(b.t, b.apply(cancelJobOp(job))[0].Err)
	b.closeSession(session)
}

// A backup is restored, the new cluster works, and the same backup, or one of the new cluster, is restored again, while the
// old cluster has gone on: nobody knows of anybody else.
func TestAnIncarnationGivesNothingOutTwice(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		old := newBundle(t)
		old.initCluster("first")
		all := &given{map[uint64]bool{}, map[uint64]bool{}, map[uint64]bool{}}
		old.work(all, 3)
		clusters := []*testBundle{old}
		now := old.clock
		for n := range rapid.IntRange(1, 5).Draw(rt, "restores") {
			from := rapid.SampledFrom(clusters).Draw(rt, "backup of")
			restored := from.copied()
			from.work(all, rapid.Uint32Range(1, 50).Draw(rt, "behind the backup"))
			now += int64(rapid.IntRange(1, 1e9).Draw(rt, "ms later")) * int64(time.Millisecond)
			restored.begin(beginning(uint64(n+1), string(rune('a'+n)), now))
			restored.work(all, rapid.Uint32Range(1, 50).Draw(rt, "tasks"))
			clusters = append(clusters, restored)
		}
	})
}

func TestFloorsRiseAndStayWithinTheirNumbers(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	last := fsm.FloorAt(at.UnixNano())
	for range 60 {
		at = at.AddDate(1, 0, 0)
		f := fsm.FloorAt(at.UnixNano())
		require.Greater(t, f.Token, last.Token)
		require.Greater(t, f.Index, last.Index)
		require.Less(t, f.Token, uint64(1)<<53, "%v", at)
		require.Less(t, f.Job, uint64(1)<<48, "%v", at)
		last = f
	}
	require.Zero(t, fsm.FloorAt(0))
}

func TestAnIncarnationIsInTheDigestAndOnDisk(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.initCluster("old")
	b.work(&given{map[uint64]bool{}, map[uint64]bool{}, map[uint64]bool{}}, 2)
	require.Nil(t, b.m.Incarnation())
	b.must(riseOp(fsm.Version))
	b.must(removeServerOp("n9", "a"))
	index := b.index
	other := b.copied()
	b.begin(beginning(7, "new", b.clock+1))
	other.begin(beginning(8, "new", other.clock+1))
	require.Equal(t, "new", b.m.ClusterID())
	require.EqualValues(t, fsm.Version, b.m.ActiveVersion())
	inc := b.m.Incarnation()
	require.EqualValues(t, 7, inc.Id)
	require.Equal(t, index, inc.FromIndex)
	require.Equal(t, "old", inc.FromCluster)
	_, one := b.m.Digest()
	_, two := other.m.Digest()
	require.NotEqual(t, one, two)
	loaded := b.copied()
	require.True(t, proto.Equal(inc, loaded.m.Incarnation()))
	_, again := loaded.m.Digest()
	require.Equal(t, one, again)
	require.Empty(t, b.m.Servers())
	require.Empty(t, b.m.Removed())
}

// Which tokens were revoked behind the backup is not known.
func TestAnIncarnationForgetsAccessTokensIfAskedTo(t *testing.T) {
	t.Parallel()
	for _, drop := range []bool{false, true} {
		b := newAccess(t)
		b.initCluster("old")
		b.must(createOp("s", nil))
		start := beginning(1, "new", b.clock+1)
		start.DropAccess = drop
		b.begin(start)
		_, known := b.m.AccessToken(accessHash("s"))
		require.Equal(t, !drop, known)
		batch := b.m.TakeBatch()
		require.Equal(t, drop, batch.Meta.AccessSum == 0)
	}
}

func TestAnIncarnationThatCannotBeIsRefused(t *testing.T) {
	t.Parallel()
	empty := newBundle(t)
	_, err := empty.m.BeginIncarnation(beginning(1, "new", empty.clock))
	require.ErrorContains(t, err, "it is empty")

	b := newBundle(t)
	b.initCluster("old")
	_, before := b.m.Digest()
	for _, start := range []*fsm.Beginning{
		beginning(0, "new", b.clock+1), beginning(1, "", b.clock+1), beginning(1, "old", b.clock+1),
		{ID: 1, ClusterID: "new", Now: b.clock + 1, Settle: time.Second},
		{ID: 1, ClusterID: "new", Now: b.clock + 1, Configuration: []byte("servers")},
	} {
		_, err := b.m.BeginIncarnation(start)
		require.ErrorIs(t, err, task.ErrInvalid)
	}
	_, err = b.m.BeginIncarnation(beginning(1, "new", b.clock))
	require.ErrorContains(t, err, "set the clock")
	_, after := b.m.Digest()
	require.Equal(t, before, after)
}

// The old cluster may have granted, behind the backup, what the state has as pending.
func TestExclusiveTasksWaitAfterARestore(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.initCluster("old")
	b.begin(beginning(1, "new", b.clock+1))
	b.clock += int64(time.Hour) // until the server is started
	session := b.openSession("w", 4)
	serial, parallel := b.submit(&task.Spec{Handler: "h", Serial: true}, 1), b.submit(&task.Spec{Handler: "h"}, 1)
	shown := func() (jobs []uint64) {
		for _, q := range b.viewAt(b.clock, roomy).Queues {
			for _, j := range q.Jobs {
				jobs = append(jobs, j.ID)
			}
		}
		return jobs
	}
	require.Equal(t, []uint64{parallel}, shown())
	require.EqualValues(t, 1, b.plan(parallel, 0, 1, session).Granted)
	require.EqualValues(t, 1, b.plan(serial, 0, 1, session).Refused)
	b.clock += int64(31 * time.Second)
	b.must(&logpb.Op{Op: &logpb.Op_Checkpoint{Checkpoint: &logpb.Checkpoint{Id: 1}}})
	require.Equal(t, []uint64{serial}, shown())
	require.EqualValues(t, 1, b.plan(serial, 0, 1, session).Granted)
}
