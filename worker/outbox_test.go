package worker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// drain takes everything that the outbox would send into a double's notes, in a
// random order of sending, answering and new streams.
func drain(t *rapid.T, o *outbox, d *double) {
	var unanswered []*rotav1.Reports
	seen := map[*rotav1.ReportGroup]bool{}
	last := uint64(0)
	for !o.empty() {
		switch rapid.SampledFrom([]string{"send", "answer", "answer", "break"}).Draw(t, "step") {
		case "send":
			m := o.next()
			if len(unanswered) == maxUnanswered {
				require.Nil(t, m, "too many messages are under way")
			}
			if m == nil {
				continue
			}
			last++
			require.Equal(t, last, m.GetSeq())
			require.LessOrEqual(t, proto.Size(m), maxReport+task.MaxPayload)
			unanswered = append(unanswered, m)
			for _, g := range m.GetGroups() {
				// The same group again is the same report sent again.
				if !seen[g] {
					seen[g] = true
					d.note(g)
				}
			}
		case "answer":
			if len(unanswered) == 0 {
				continue
			}
			i := rapid.IntRange(0, len(unanswered)-1).Draw(t, "which")
			require.Equal(t, unanswered[i].GetGroups(), o.settle(unanswered[i].GetSeq()))
			unanswered = append(unanswered[:i:i], unanswered[i+1:]...)
			require.Nil(t, o.settle(last+1), "an answer for nothing")
		case "break":
			o.rewind()
			unanswered, last = nil, 0
		}
	}
	require.Zero(t, o.bytes.Load())
}

func TestOutboxReportsEachTaskExactlyOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := newOutbox()
		d := &double{reports: map[attempt][]report{}}
		want := map[attempt]report{}
		n := rapid.IntRange(0, 200).Draw(t, "tasks")
		for _, i := range rapid.Permutation(sequence(n)).Draw(t, "completions") {
			k := key{job: uint64(i % 3), offset: int64(i % 2)}
			a := attempt{k.job, uint32(i), k.token(uint32(i))}
			res := result{kind: kind{outcome: rotav1.Outcome_OUTCOME_SUCCEEDED}}
			switch rapid.IntRange(0, 9).Draw(t, "how") {
			case 0:
				res.kind = failed
				res.err = fmt.Sprint("error ", rapid.IntRange(0, 2).Draw(t, "error"))
			case 1:
				res.kind = kind{outcome: rotav1.Outcome_OUTCOME_FAILED, reason: rotav1.Reason_REASON_EXIT_CODE, hasExit: true, exit: int32(i % 2)}
				res.stderr = []byte("tail")
			case 2, 3, 4:
				res.output = []byte(strings.Repeat("x", rapid.SampledFrom([]int{1, 127, 128, 1000, task.MaxPayload}).Draw(t, "size")))
			case 5:
				o.addRanges(k, []indexRange{{uint32(i), uint32(i) + 1}}, &res)
				want[a] = report{outcome: res.outcome}
				continue
			}
			want[a] = report{outcome: res.outcome, reason: res.reason, err: res.err, stderr: string(res.stderr), output: string(res.output)}
			if res.hasExit {
				want[a] = report{outcome: res.outcome, reason: res.reason, exit: &res.exit, stderr: string(res.stderr)}
			}
			o.add(k, uint32(i), &res, false)
			if rapid.IntRange(0, 20).Draw(t, "drain now") == 0 {
				o.rewind()
				drain(t, o, d)
			}
		}
		o.rewind()
		drain(t, o, d)
		require.Len(t, d.reports, len(want))
		for a, w := range want {
			require.Equal(t, []report{w}, d.reports[a])
		}
	})
}

func sequence(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

func TestCompletionsInAnyOrderBecomeOneRange(t *testing.T) {
	t.Parallel()
	for _, output := range []string{"", "x"} {
		o := newOutbox()
		for i := range uint32(64) {
			o.add(key{1, 0}, i^7, &result{kind: kind{outcome: rotav1.Outcome_OUTCOME_SUCCEEDED}, output: []byte(output), runTime: 2}, false)
		}
		m := o.next()
		require.Len(t, m.GetGroups(), 1)
		require.Len(t, m.GetGroups()[0].GetRanges(), 1)
		require.Equal(t, uint32(64), m.GetGroups()[0].GetRanges()[0].GetCount())
		require.Equal(t, int64(128), m.GetGroups()[0].GetRunNs())
		require.Equal(t, output == "", len(m.GetGroups()[0].GetPackedOutputs()) == 0)
	}
}

func TestAFullOutboxHoldsUpTheSlots(t *testing.T) {
	t.Parallel()
	o := newOutbox()
	res := &result{kind: kind{outcome: rotav1.Outcome_OUTCOME_SUCCEEDED}, output: make([]byte, task.MaxPayload)}
	for i := uint32(0); o.bytes.Load() <= maxOutbox; i++ {
		o.waitRoom()
		o.add(key{1, 0}, i, res, false)
	}
	free := make(chan struct{})
	go func() {
		o.waitRoom()
		close(free)
	}()
	select {
	case <-free:
		require.Fail(t, "the outbox is full")
	default:
	}
	for o.bytes.Load() > maxOutbox {
		o.settle(o.next().GetSeq())
	}
	<-free
}

func TestIndexSetIsASet(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var s indexSet
		want := map[uint32]bool{}
		ranges := rapid.Custom(func(t *rapid.T) indexRange {
			first := rapid.Uint32Range(0, 60).Draw(t, "first")
			return indexRange{first, first + rapid.Uint32Range(1, 10).Draw(t, "count")}
		})
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			r := ranges.Draw(t, "range")
			add := rapid.Bool().Draw(t, "add")
			for i := r.first; i < r.end; i++ {
				want[i] = add
			}
			if add {
				s.add(r)
			} else {
				s.remove(r)
			}
		}
		covered := uint32(0)
		s.each(indexRange{0, 80}, func(r indexRange, in bool) {
			require.Equal(t, covered, r.first)
			covered = r.end
			for i := r.first; i < r.end; i++ {
				require.Equal(t, want[i], in)
				require.Equal(t, want[i], s.has(i))
			}
		})
		require.Equal(t, uint32(80), covered)
		for i := 1; i < len(s.ranges); i++ {
			require.Greater(t, s.ranges[i].first, s.ranges[i-1].end)
		}
	})
}

func TestResultsGatherWhileSlotsHaveTasksInReserve(t *testing.T) {
	t.Parallel()
	o := newOutbox()
	done := &result{kind: kind{outcome: rotav1.Outcome_OUTCOME_SUCCEEDED}}
	for i := range uint32(9) {
		o.add(key{1, 0}, i, done, false)
	}
	wait := o.hold(10)
	require.Positive(t, wait)
	require.LessOrEqual(t, wait, reportHold)
	require.Zero(t, o.hold(9), "as many results as tasks in reserve")
	require.Zero(t, o.hold(0), "the slots have nothing else to do")
	o.since -= reportHold
	require.Zero(t, o.hold(10), "they have gathered for long")

	o.since += reportHold
	o.add(key{2, 0}, 0, done, true)
	require.Zero(t, o.hold(100), "one of them must not wait")
	require.Len(t, o.next().GetGroups(), 2)
	require.Zero(t, o.hold(100), "there is nothing to hold")
	o.add(key{1, 0}, 9, done, false)
	require.Positive(t, o.hold(100), "what was urgent is on its way")
	o.rewind()
	require.Zero(t, o.hold(100), "what was sent before goes again first")
}

func TestWhatOthersWaitForIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		exclusive bool
		outcome   rotav1.Outcome
		urgent    bool
	}{
		{"a task", false, rotav1.Outcome_OUTCOME_SUCCEEDED, false},
		{"a failure", false, rotav1.Outcome_OUTCOME_FAILED, false},
		{"a task of a serial job", true, rotav1.Outcome_OUTCOME_SUCCEEDED, true},
		{"a task that was told to stop", false, rotav1.Outcome_OUTCOME_STOPPED, true},
	} {
		w := &Worker{out: newOutbox()}
		r := newRun(t.Context())
		r.key, r.work = key{1, 0}, &work{Work: task.Work{Exclusive: tc.exclusive}}
		w.finish(r, result{kind: kind{outcome: tc.outcome}})
		require.Equal(t, tc.urgent, w.out.hold(100) == 0, tc.name)
	}
	o := newOutbox()
	o.addRanges(key{1, 0}, []indexRange{{0, 5}}, &result{kind: kind{outcome: rotav1.Outcome_OUTCOME_RETURNED}})
	require.Zero(t, o.hold(100), "tasks that are given back")
}
