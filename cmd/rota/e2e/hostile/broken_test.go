package hostile

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// A worker gives every second task back as started and the others as not started. So neighbours are granted a
// different number of times, and each has a result of its own. Then one report of 4 MiB ends all of them. Servers
// once made room in every result for all outputs of the report: 16 GiB on every server, and again at each start.
func TestAReportThatBreaksUpCostsWhatItSays(t *testing.T) {
	t.Parallel()
	h := start(t)
	const count, large = 4096, 14
	hello := helloOf()
	hello.Slots = count
	l := h.attach(hello)
	job, err := h.Client().Submit(t.Context(), client.Request{Spec: task.Spec{Handler: "hostile"}, Count: count})
	require.NoError(t, err)
	started, unstarted := &rotav1.Reports{Seq: 1}, &rotav1.Reports{Seq: 2}
	for _, a := range l.givenAll(count) {
		first, offset := a.GetRange().GetFirst(), a.GetTokenOffset()
		stopped, returned := reportOf(job.ID(), offset), reportOf(job.ID(), offset)
		stopped.Outcome, returned.Outcome = rotav1.Outcome_OUTCOME_STOPPED, rotav1.Outcome_OUTCOME_RETURNED
		for i := range a.GetRange().GetCount() {
			g := stopped
			if i%2 == 1 {
				g = returned
			}
			g.Ranges = append(g.Ranges, tasks(first+i, 1))
		}
		started.Groups, unstarted.Groups = append(started.Groups, stopped), append(unstarted.Groups, returned)
	}
	require.NoError(t, l.say(started))
	require.NoError(t, l.say(unstarted))
	again := map[int64][]*rotav1.IndexRange{}
	for _, a := range l.givenAll(count) {
		again[a.GetTokenOffset()] = append(again[a.GetTokenOffset()], a.GetRange())
	}
	end := &rotav1.Reports{Seq: 3}
	for offset, ranges := range again {
		g := reportOf(job.ID(), offset, ranges...)
		g.Error, g.StderrTail = strings.Repeat("e", task.MaxError), make([]byte, task.MaxStderrTail)
		n := 0
		for _, r := range ranges {
			n += int(r.GetCount())
		}
		for i := range n {
			output := []byte("x")
			if i < large*n/count {
				output = make([]byte, task.MaxPayload)
			}
			g.PackedOutputs = task.PackAppend(g.PackedOutputs, output)
		}
		end.Groups = append(end.Groups, g)
	}
	require.NoError(t, l.say(end))
	h.Served(20)
	h.Restart(h.Leader())
	h.Served(20)
}

// givenAll waits until a worker has got so many tasks.
func (l *line) givenAll(count uint32) (out []*rotav1.Assignment) {
	l.h.t.Helper()
	for given := uint32(0); given < count; {
		m, err := l.Recv()
		require.NoError(l.h.t, err)
		for _, a := range m.GetAssignments().GetAssignments() {
			out, given = append(out, a), given+a.GetRange().GetCount()
		}
	}
	return out
}
