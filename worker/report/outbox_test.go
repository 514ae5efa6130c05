package report

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

// attempt is one execution as a leader knows it.
type attempt struct {
	job   uint64
	index uint32
	token uint64
}

// outcome is what a report group says of an attempt.
type outcome struct {
	outcome rotav1.Outcome
	reason  rotav1.Reason
	exit    *int32
	err     string
	stderr  string
	output  string
}

// notes are what was reported of each attempt.
type notes map[attempt][]outcome

func (n notes) note(g *rotav1.ReportGroup) {
	packed := g.GetPackedOutputs()
	for _, r := range g.GetRanges() {
		for i := r.GetFirst(); i < r.GetFirst()+r.GetCount(); i++ {
			var output []byte
			if len(g.GetPackedOutputs()) > 0 {
				output, packed, _ = task.PackNext(packed)
			}
			a := attempt{g.GetJobId(), i, uint64(int64(i) + g.GetTokenOffset())}
			n[a] = append(n[a], outcome{
				outcome: g.GetOutcome(), reason: g.GetReason(), exit: g.ExitCode, err: g.GetError(),
				stderr: string(g.GetStderrTail()), output: string(output),
			})
		}
	}
}

// drain takes note of everything that the outbox would send, in a random order of sending, answering
// and new streams.
func drain(t *rapid.T, o *Outbox, d notes) {
	var unanswered []*rotav1.Reports
	seen := map[*rotav1.ReportGroup]bool{}
	last := uint64(0)
	for !o.Empty() {
		switch rapid.SampledFrom([]string{"send", "answer", "answer", "break"}).Draw(t, "step") {
		case "send":
			m := o.Next()
			if len(unanswered) == maxUnanswered {
				require.Nil(t, m, "too many messages are under way")
			}
			if m == nil {
				continue
			}
			last++
			require.Equal(t, last, m.GetSeq())
			require.LessOrEqual(t, proto.Size(m), maxMessage+task.MaxPayload)
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
			require.Equal(t, unanswered[i].GetGroups(), o.Settle(unanswered[i].GetSeq()))
			unanswered = append(unanswered[:i:i], unanswered[i+1:]...)
			require.Nil(t, o.Settle(last+1), "an answer for nothing")
		case "break":
			o.Rewind()
			unanswered, last = nil, 0
		}
	}
	require.Zero(t, o.Size())
}

func TestOutboxReportsEachTaskExactlyOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := NewOutbox()
		d := notes{}
		want := map[attempt]outcome{}
		n := rapid.IntRange(0, 200).Draw(t, "tasks")
		for _, i := range rapid.Permutation(sequence(n)).Draw(t, "completions") {
			k := Grant{Job: uint64(i % 3), Offset: int64(i % 2)}
			a := attempt{k.Job, uint32(i), k.Token(uint32(i))}
			res := Result{Kind: Succeeded}
			switch rapid.IntRange(0, 9).Draw(t, "how") {
			case 0:
				res.Kind = Failed
				res.Err = fmt.Sprint("error ", rapid.IntRange(0, 2).Draw(t, "error"))
			case 1:
				res.Kind = Kind{Outcome: rotav1.Outcome_OUTCOME_FAILED, Reason: rotav1.Reason_REASON_EXIT_CODE, HasExit: true, Exit: int32(i % 2)}
				res.Stderr = []byte("tail")
			case 2, 3, 4:
				res.Output = []byte(strings.Repeat("x", rapid.SampledFrom([]int{1, 127, 128, 1000, task.MaxPayload}).Draw(t, "size")))
			case 5:
				o.AddRanges(k, []task.Range{{First: uint32(i), Count: 1}}, &res)
				want[a] = outcome{outcome: res.Outcome}
				continue
			}
			want[a] = outcome{outcome: res.Outcome, reason: res.Reason, err: res.Err, stderr: string(res.Stderr), output: string(res.Output)}
			if res.HasExit {
				want[a] = outcome{outcome: res.Outcome, reason: res.Reason, exit: &res.Exit, stderr: string(res.Stderr)}
			}
			o.Add(k, uint32(i), &res, false)
			if rapid.IntRange(0, 20).Draw(t, "drain now") == 0 {
				o.Rewind()
				drain(t, o, d)
			}
		}
		o.Rewind()
		drain(t, o, d)
		require.Len(t, d, len(want))
		for a, w := range want {
			require.Equal(t, []outcome{w}, d[a])
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
		o := NewOutbox()
		for i := range uint32(64) {
			o.Add(Grant{1, 0}, i^7, &Result{Kind: Succeeded, Output: []byte(output), RunTime: 2}, false)
		}
		m := o.Next()
		require.Len(t, m.GetGroups(), 1)
		require.Len(t, m.GetGroups()[0].GetRanges(), 1)
		require.Equal(t, uint32(64), m.GetGroups()[0].GetRanges()[0].GetCount())
		require.Equal(t, int64(128), m.GetGroups()[0].GetRunNs())
		require.Equal(t, output == "", len(m.GetGroups()[0].GetPackedOutputs()) == 0)
	}
}

func TestAFullOutboxHoldsUpTheSlots(t *testing.T) {
	t.Parallel()
	o := NewOutbox()
	res := &Result{Kind: Succeeded, Output: make([]byte, task.MaxPayload)}
	for i := uint32(0); o.Size() <= maxOutbox; i++ {
		o.WaitRoom()
		o.Add(Grant{1, 0}, i, res, false)
	}
	free := make(chan struct{})
	go func() {
		o.WaitRoom()
		close(free)
	}()
	select {
	case <-free:
		require.Fail(t, "the outbox is full")
	default:
	}
	for o.Size() > maxOutbox {
		o.Settle(o.Next().GetSeq())
	}
	<-free
}

func TestResultsGatherWhileSlotsHaveTasksInReserve(t *testing.T) {
	t.Parallel()
	o := NewOutbox()
	done := &Result{Kind: Succeeded}
	for i := range uint32(9) {
		o.Add(Grant{1, 0}, i, done, false)
	}
	wait := o.Hold(10)
	require.Positive(t, wait)
	require.LessOrEqual(t, wait, gatherTime)
	require.Zero(t, o.Hold(9), "as many results as tasks in reserve")
	require.Zero(t, o.Hold(0), "the slots have nothing else to do")
	o.since = o.since.Add(-gatherTime)
	require.Zero(t, o.Hold(10), "they have gathered for long")

	o.since = o.since.Add(gatherTime)
	o.Add(Grant{2, 0}, 0, done, true)
	require.Zero(t, o.Hold(100), "one of them must not wait")
	require.Len(t, o.Next().GetGroups(), 2)
	require.Zero(t, o.Hold(100), "there is nothing to hold")
	o.Add(Grant{1, 0}, 9, done, false)
	require.Positive(t, o.Hold(100), "what was urgent is on its way")
	o.Rewind()
	require.Zero(t, o.Hold(100), "what was sent before goes again first")
}

func TestTasksThatAreReturnedDoNotGather(t *testing.T) {
	t.Parallel()
	o := NewOutbox()
	o.AddRanges(Grant{1, 0}, []task.Range{{First: 0, Count: 5}}, &Result{Kind: Returned})
	require.Zero(t, o.Hold(100))
}
