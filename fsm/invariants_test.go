package fsm

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// Whatever is wrong with the state, CheckInvariants says what it is.
func TestEachFaultIsFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		harm func(m *Machine, j *job)
		want string
	}{
		"a count of a state":           {func(_ *Machine, j *job) { j.counts[task.Pending]++ }, "tasks pending"},
		"a count of outcomes":          {func(_ *Machine, j *job) { j.received++ }, "outcomes, gave"},
		"a count of live tasks":        {func(_ *Machine, j *job) { j.live-- }, "live tasks, has"},
		"a count of all live tasks":    {func(m *Machine, _ *job) { m.outstandingLive++ }, "live tasks counted"},
		"a count of live jobs":         {func(m *Machine, _ *job) { m.liveJobs++ }, "live jobs counted"},
		"a count of tries":             {func(_ *Machine, j *job) { j.retrying++ }, "tried again, has"},
		"a count of a page":            {func(_ *Machine, j *job) { j.page(0).final++ }, "final tasks, has"},
		"the digest of tasks":          {func(_ *Machine, j *job) { j.sum++ }, "has the digest"},
		"a job that was not settled":   {func(_ *Machine, j *job) { j.touched = true }, "not settled"},
		"a sweep beyond the job":       {func(_ *Machine, j *job) { j.sweep = 3 }, "is swept from"},
		"a job not in line":            {func(_ *Machine, j *job) { j.inReady = false }, "in line is false"},
		"a job not in order":           {func(m *Machine, j *job) { m.jobOrder.Delete(j.id) }, "jobs in order"},
		"too many tasks at once":       {func(_ *Machine, j *job) { j.spec.MaxParallel = 1 }, "limit 1"},
		"a cancel that does not hold":  {func(_ *Machine, j *job) { j.cancelReason = task.ReasonUser }, "was cancelled"},
		"a token of the future":        {func(m *Machine, _ *job) { m.nextToken = 1 }, "the next one is 1"},
		"a token of two tasks":         {func(_ *Machine, j *job) { j.page(0).slots[1].token = j.page(0).slots[0].token }, "is held by"},
		"a task that does not wait":    {func(m *Machine, _ *job) { m.timers.Clear() }, "waits for no timer"},
		"a holder that is gone":        {func(m *Machine, _ *job) { delete(m.sessions, 1) }, "which is not open"},
		"a count of what is held":      {func(m *Machine, _ *job) { m.sessions[1].assigned-- }, "tasks, holds"},
		"a count of a page of it":      {func(m *Machine, j *job) { *m.sessions[1].held[pageRef{j.id, 0}]++ }, "on page 0"},
		"a worker of another session":  {func(m *Machine, _ *job) { m.byWorker.Delete("w") }, "not the one of its worker"},
		"a session not in its place":   {func(m *Machine, _ *job) { m.sessions[1].member++ }, "not in its place"},
		"the bytes of sessions":        {func(m *Machine, _ *job) { m.sessionBytes++ }, "sessions take"},
		"a session not in order":       {func(m *Machine, _ *job) { m.sessionOrder.Delete(1) }, "sessions in order"},
		"abilities not in their place": {func(m *Machine, _ *job) { m.able[0].at++ }, "not in their place"},
		"an offer that is not counted": {func(m *Machine, _ *job) { delete(m.offering, offer{kind: offersHandler, key: "h"}) }, "not among those that offer"},
		"a count of equal sessions":    {func(m *Machine, _ *job) { m.able[0].sessions++ }, "is shared by"},
		"a count of a spec":            {func(_ *Machine, j *job) { j.spec.refs++ }, "a spec counts"},
		"a spec cut short":             {func(_ *Machine, j *job) { j.spec.raw = nil }, "a spec of"},
		"a spec that is not kept":      {func(m *Machine, j *job) { delete(m.specs, j.spec.id) }, "not among the specs"},
		"a count of a class":           {func(_ *Machine, j *job) { j.spec.class.specs++ }, "a class counts"},
		"a class of another queue":     {func(_ *Machine, j *job) { j.spec.class.queue = &queue{} }, "another queue"},
		"a count of a queue":           {func(_ *Machine, j *job) { j.spec.class.queue.classes++ }, "classes, has"},
		"a turn of the future":         {func(m *Machine, _ *job) { m.turns = 0 }, "has turn"},
		"a queue not in line":          {func(m *Machine, j *job) { m.ready.Delete(j.spec.class.queue.turn) }, "is in line itself: false"},
		"a class that has moved":       {func(_ *Machine, j *job) { j.spec.class.head.job = &job{id: 7} }, "stands at the place of job 7"},
		"a pool of other workers":      {func(_ *Machine, j *job) { j.spec.class.pool.accepting = nil }, "known as"},
		"a pool not in its place":      {func(_ *Machine, j *job) { j.spec.class.pool.place++ }, "is not in its place"},
		"a queue out of date":          {func(_ *Machine, j *job) { j.spec.class.queue.outdated++ }, "is out of date"},
		"a server without an id":       {func(m *Machine, _ *job) { m.servers = []*logpb.ServerRecord{{}} }, "node id"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, j := halfDone(t)
			grouped(t, m, j)
			c.harm(m, j)
			found := false
			wrong := m.CheckInvariants()
			for _, w := range wrong {
				found = found || strings.Contains(w, c.want)
			}
			require.True(t, found, "%q", wrong)
		})
	}
}
