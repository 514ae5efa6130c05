package e2e

import (
	"context"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/rota-scheduler/rota/api/jsonv1"
	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/cmd/rota/e2e/program"
	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// The next build has the tag rotanext and knows one more version of the log. It adds an op that skips tokens, which
// its leader proposes twice a second; a field of a spec, which it shows as meta; and another retention of
// request keys.
const (
	nextVersion   = task.Version + 1
	nextMeta      = "rota.next"
	nextField     = 900
	skippedTokens = 1_000_000
)

// upgrade is a cluster whose servers are of two builds.
type upgrade struct {
	*cluster
	next string
	load *submitter
}

// TestServersOfTwoBuildsAreOneCluster replaces the servers one by one under load, goes back, and does it again
// for good. Digests agree throughout.
func TestServersOfTwoBuildsAreOneCluster(t *testing.T) {
	next, err := program.BuildNext(t.TempDir())
	require.NoError(t, err)
	t.Run("the leader first", func(t *testing.T) {
		t.Parallel()
		upgradeAndGoBack(t, next, true, syscall.SIGTERM)
	})
	t.Run("the leader last, and servers that crash", func(t *testing.T) {
		t.Parallel()
		upgradeAndGoBack(t, next, false, syscall.SIGKILL)
	})
}

func upgradeAndGoBack(t *testing.T, next string, leaderFirst bool, end syscall.Signal) {
	u := &upgrade{cluster: start(t, localcluster.Config{Servers: 3, Workers: 1, Slots: 4}), next: next}
	cl := u.client()
	u.load = submitLoops(2, "s", func(ctx context.Context, key string) (uint64, error) {
		job, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Name: key, Handler: "rota.square"}, Count: 3, Key: key})
		if err != nil {
			return 0, err
		}
		return job.ID(), nil
	})
	order := u.order(leaderFirst)
	for _, s := range order[:2] {
		u.replace(s, next, end)
		u.requireStays(s)
		u.requireRefused()
	}
	// Back, in the other order: the version has not risen while one server did not know it.
	for _, s := range slices.Backward(order[:2]) {
		u.replace(s, binary, end)
	}
	u.requireVersion(task.Version)
	u.requireRefused()
	for _, s := range u.order(leaderFirst) {
		u.replace(s, next, end)
	}
	await(t, "the rise of the version", func() bool { return u.versions().ActiveVersion == nextVersion })
	u.load.more(t, 20)
	u.verify()
	u.requireNewField(cl)
	u.requireNewOp(cl)
	u.requireOldServerStops(order[2], binary, end)

	acknowledged := u.load.halt(t)
	for _, id := range acknowledged {
		require.NoError(t, wait(cl.Job(id)))
	}
	u.verify()
}

func wait(job *client.Job) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	for r, err := range job.Results(ctx) {
		if err != nil {
			return err
		}
		if r.State != task.Succeeded {
			return task.Errorf(task.KindInternal, "task %d has %v: %s", r.Index, r.State, r.Error)
		}
	}
	return nil
}

// order returns the servers in the order in which to replace them.
func (u *upgrade) order(leaderFirst bool) []*localcluster.Process {
	u.t.Helper()
	followers := u.followers()
	leader := u.leader()
	if slices.Contains(followers, leader) {
		return u.Servers // leadership has changed in between: any order will do
	}
	if leaderFirst {
		return append([]*localcluster.Process{leader}, followers...)
	}
	return append(followers, leader)
}

// replace ends a server and starts it as another build, under load.
func (u *upgrade) replace(s *localcluster.Process, build string, end syscall.Signal) {
	u.t.Helper()
	require.NoError(u.t, s.Signal(end))
	u.ended(s)
	s.SetBinary(build)
	u.restart(s)
	u.load.more(u.t, 20)
	u.verify()
}

// versions returns cluster status, which has the versions; the zero value if there is no leader.
func (u *upgrade) versions() jsonv1.Status {
	u.t.Helper()
	out := u.rota("cluster", "status", "-o", "json")
	if out.code != 0 {
		return jsonv1.Status{}
	}
	return parse[jsonv1.Status](u.t, out.stdout)
}

// requireVersion requires that the active version is the one that all know, and that status shows who knows more.
func (u *upgrade) requireVersion(want uint32) {
	u.t.Helper()
	v := u.versions()
	require.Equal(u.t, want, v.ActiveVersion)
	require.Len(u.t, v.Servers, 3)
	for _, s := range v.Servers {
		require.Contains(u.t, []uint32{task.Version, nextVersion}, s.KnowsVersion, s.ID)
	}
}

// proposesNext is what a leader of the next build logs each time it has checked whether the version may rise.
const proposesNext = "the new op was proposed"

// requireStays makes a server of the next build the leader, and requires that the version does not rise under it.
func (u *upgrade) requireStays(s *localcluster.Process) {
	u.t.Helper()
	looks := func() int {
		log, err := os.ReadFile(s.LogFile)
		require.NoError(u.t, err)
		return strings.Count(string(log), proposesNext)
	}
	before := looks()
	await(u.t, "a leader of the next build that has looked twice", func() bool {
		u.rota("cluster", "transfer-leader", s.Name) // it keeps its place if it leads
		return looks() >= before+2
	})
	u.requireVersion(task.Version)
}

// newRequest is a request that needs the new field.
func newRequest() *rotav1.SubmitRequest {
	spec := &rotav1.JobSpec{Work: &rotav1.JobSpec_Handler{Handler: &rotav1.HandlerWork{Name: "rota.square"}}}
	spec.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, nextField, protowire.BytesType), "new"))
	return &rotav1.SubmitRequest{Spec: spec, Tasks: &rotav1.TaskSet{Count: 1}}
}

// submitNew sends newRequest to one server. The leader may be lost in the meantime.
func (u *upgrade) submitNew(s *localcluster.Process) (id uint64, err error) {
	u.t.Helper()
	await(u.t, "an answer", func() bool {
		err = wire.FromStatus(u.at(s, func(ctx context.Context, jobs rotav1.JobServiceClient) error {
			r, err := jobs.Submit(ctx, newRequest())
			id = r.GetJobId()
			return err
		}))
		kind := task.KindOf(err)
		return kind != task.KindUnavailable && kind != task.KindUnknownOutcome && kind != task.KindExhausted
	})
	return id, err
}

// requireRefused requires that no server takes the new field, whatever it knows.
func (u *upgrade) requireRefused() {
	u.t.Helper()
	for _, s := range u.Servers {
		_, err := u.submitNew(s)
		require.ErrorIs(u.t, err, task.ErrUnsupported, s.Name)
		require.ErrorContains(u.t, err, "rota cluster status", s.Name)
	}
}

// requireNewField requires that the new field is taken, and that all servers have it.
func (u *upgrade) requireNewField(cl *client.Client) {
	u.t.Helper()
	id, err := u.submitNew(u.Servers[0])
	require.NoError(u.t, err)
	require.NoError(u.t, wait(cl.Job(id)))
	for _, s := range u.Servers {
		require.NoError(u.t, u.at(s, func(ctx context.Context, jobs rotav1.JobServiceClient) error {
			got, err := jobs.GetJob(ctx, &rotav1.GetJobRequest{JobId: id})
			require.Equal(u.t, "new", got.GetJob().GetSpec().GetMeta()[nextMeta], s.Name)
			return err
		}))
	}
}

// requireNewOp requires that the new op is applied.
func (u *upgrade) requireNewOp(cl *client.Client) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	await(u.t, "a token behind those that were skipped", func() bool {
		job, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: "rota.square"}, Count: 1})
		require.NoError(u.t, err)
		skipped := false
		for r, err := range job.Results(ctx) {
			require.NoError(u.t, err)
			skipped = r.Token > skippedTokens
		}
		return skipped
	})
	u.verify()
}

// requireOldServerStops requires that an older build stops when it reads the state, says why, and does not change it.
func (u *upgrade) requireOldServerStops(s *localcluster.Process, old string, end syscall.Signal) {
	u.t.Helper()
	require.NoError(u.t, s.Signal(end))
	u.ended(s)
	s.SetBinary(old)
	require.NoError(u.t, s.Start())
	require.NotZero(u.t, u.ended(s))
	log, err := os.ReadFile(s.LogFile)
	require.NoError(u.t, err)
	require.Contains(u.t, string(log), "this build of rota is too old")
	require.Contains(u.t, string(log), "start the newer build again")
	u.replaceEnded(s)
}

// replaceEnded starts a server that has ended as the next build.
func (u *upgrade) replaceEnded(s *localcluster.Process) {
	u.t.Helper()
	s.SetBinary(u.next)
	u.restart(s)
	u.load.more(u.t, 20)
	u.verify()
}
