package worker

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker/report"
)

// where is the place of a task in a model of heldTasks.
type where int

const (
	nowhere where = iota
	waits
	runsNow
	runsSilently
	reported
)

// heldModel is heldTasks beside a model of it that knows each task by itself.
type heldModel struct {
	held  *heldTasks
	tasks map[attempt]where
	free  []*slot
	busy  map[*slot]attempt
}

// exclusiveJob says which jobs of the test are exclusive.
func exclusiveJob(job uint64) bool { return job == 2 }

func (m *heldModel) Check(t *rapid.T) {
	want := map[attempt]bool{}
	exclusives := 0
	for a, at := range m.tasks {
		if at == waits || at == runsNow || at == reported {
			want[a] = true
		}
		if exclusiveJob(a.job) && (at == waits || at == runsNow || at == runsSilently) {
			exclusives++
		}
	}
	got := map[attempt]bool{}
	for _, h := range m.held.all() {
		for a := range attemptsNamed(h) {
			got[a] = true
		}
	}
	require.Equal(t, want, got)
	require.Equal(t, exclusives, m.held.exclusivesHeld())
	require.Len(t, m.held.running(), len(m.busy))
}

func attemptsNamed(h *rotav1.HeldTasks) map[attempt]bool {
	all := map[attempt]bool{}
	g, set := tasksOf(h)
	for r := range set.All() {
		for i := r.First; i < r.End(); i++ {
			all[attempt{g.Job, i, g.Token(i)}] = true
		}
	}
	return all
}

var someTasks = rapid.Custom(func(t *rapid.T) *rotav1.HeldTasks {
	h := &rotav1.HeldTasks{JobId: rapid.Uint64Range(1, 2).Draw(t, "job"), TokenOffset: rapid.Int64Range(100, 101).Draw(t, "offset")}
	for range rapid.IntRange(1, 3).Draw(t, "ranges") {
		h.Ranges = append(h.Ranges, &rotav1.IndexRange{First: rapid.Uint32Range(0, 20).Draw(t, "first"), Count: rapid.Uint32Range(1, 6).Draw(t, "count")})
	}
	return h
})

func (m *heldModel) Assign(t *rapid.T) {
	h := someTasks.Draw(t, "assigned")
	for _, r := range h.GetRanges() {
		a := &rotav1.Assignment{
			JobId: h.GetJobId(), TokenOffset: h.GetTokenOffset(), Range: r,
			Work: &rotav1.WorkSpec{Exclusive: exclusiveJob(h.GetJobId())},
		}
		if rapid.Bool().Draw(t, "payloads") {
			for i := range r.GetCount() {
				a.PackedPayloads = task.PackAppend(a.PackedPayloads, []byte{byte(r.GetFirst() + i)})
			}
		}
		s, err := assignmentOf(a, a.GetWork())
		require.NoError(t, err)
		m.held.assign([]*assignment{s})
	}
	for a := range attemptsNamed(h) {
		// A dropped task that still runs is in a slot, but heldTasks does not know it any more.
		if at := m.tasks[a]; at == nowhere {
			m.tasks[a] = waits
		}
	}
}

func (m *heldModel) Run(t *rapid.T) {
	if len(m.free) == 0 || m.held.pick() == nil {
		t.Skip("nothing to run")
	}
	s := m.free[0]
	m.free = m.free[1:]
	r := newRun(context.Background())
	require.True(t, m.held.next(s, r))
	a := attempt{r.task.Job, r.task.Index, r.task.Token}
	require.Equal(t, waits, m.tasks[a])
	if len(r.task.Payload) > 0 {
		require.Equal(t, []byte{byte(a.index)}, r.task.Payload)
	}
	m.tasks[a] = runsNow
	m.busy[s] = a
}

func (m *heldModel) Finish(t *rapid.T) {
	for s, a := range m.busy {
		r := s.current
		require.Equal(t, m.tasks[a] == runsSilently, r.silent.Load())
		if r.silent.Load() {
			delete(m.tasks, a)
		} else {
			m.held.out.Add(r.grant, a.index, &report.Result{Kind: report.Succeeded}, false)
			m.tasks[a] = reported
		}
		r.ctx.cancel(nil)
		m.held.free(s)
		delete(m.busy, s)
		m.free = append(m.free, s)
		return
	}
	t.Skip("nothing runs")
}

func (m *heldModel) Stop(t *rapid.T) {
	h := someTasks.Draw(t, "stopped")
	m.held.stop([]*rotav1.HeldTasks{h})
	for a := range attemptsNamed(h) {
		if at := m.tasks[a]; at == waits || at == nowhere {
			m.tasks[a] = reported
		}
	}
	for s, a := range m.busy {
		if attemptsNamed(h)[a] {
			require.Error(t, s.current.ctx.Err())
		}
	}
}

func (m *heldModel) Drop(t *rapid.T) {
	h := someTasks.Draw(t, "dropped")
	m.held.drop([]*rotav1.HeldTasks{h})
	for a := range attemptsNamed(h) {
		switch m.tasks[a] {
		case runsNow, runsSilently:
			m.tasks[a] = runsSilently
		case waits, reported:
			delete(m.tasks, a)
		}
	}
}

func (m *heldModel) Answer(t *rapid.T) {
	r := m.held.out.Next()
	if r == nil {
		t.Skip("nothing to answer")
	}
	m.held.answered(m.held.out.Settle(r.GetSeq()))
	for _, g := range r.GetGroups() {
		for a := range attemptsNamed(&rotav1.HeldTasks{JobId: g.GetJobId(), TokenOffset: g.GetTokenOffset(), Ranges: g.GetRanges()}) {
			if m.tasks[a] == reported {
				delete(m.tasks, a)
			}
		}
	}
}

func TestHeldTasksKnowWhereEachTaskIs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := &heldModel{held: newHeldTasks(3, report.NewOutbox()), tasks: map[attempt]where{}, busy: map[*slot]attempt{}}
		m.free = append(m.free, m.held.slots...)
		t.Repeat(map[string]func(*rapid.T){
			"": m.Check, "assign": m.Assign, "run": m.Run, "finish": m.Finish, "stop": m.Stop, "answer": m.Answer,
		})
	})
}

func TestDroppedTasksAreForgotten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := &heldModel{held: newHeldTasks(3, report.NewOutbox()), tasks: map[attempt]where{}, busy: map[*slot]attempt{}}
		m.free = append(m.free, m.held.slots...)
		assigned := false
		t.Repeat(map[string]func(*rapid.T){
			"": m.Check, "run": m.Run, "finish": m.Finish, "drop": m.Drop,
			// Once: a leader that drops a task never grants it again under its token.
			"assign": func(t *rapid.T) {
				if assigned {
					t.Skip("assigned before")
				}
				assigned = true
				m.Assign(t)
			},
		})
	})
}

func TestNoExclusiveTaskStartsBesideOneThatEnds(t *testing.T) {
	t.Parallel()
	m := newHeldTasks(2, report.NewOutbox())
	a := handlerWork(1, 0, 1, "h")
	a.Work.Exclusive = true
	one, err := assignmentOf(a, a.GetWork())
	require.NoError(t, err)
	m.assign([]*assignment{one})
	r := newRun(t.Context())
	require.True(t, m.next(m.slots[0], r))
	m.drop([]*rotav1.HeldTasks{held(1, 0, 1)})
	a.TokenOffset++
	two, err := assignmentOf(a, a.GetWork())
	require.NoError(t, err)
	m.assign([]*assignment{two})
	require.Nil(t, m.pick())
	m.free(m.slots[0])
	require.NotNil(t, m.pick())
}
