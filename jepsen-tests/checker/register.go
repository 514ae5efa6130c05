package checker

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// linearizeTimeout bounds the search for an order; a search that takes longer leaves the
// check unknown.
const linearizeTimeout = 30 * time.Second

// registerIn is an append or a read of one open job.
type registerIn struct {
	read    bool
	at      uint32
	payload string
}

// registerOut is its answer.
type registerOut struct {
	// unknown: nobody knows whether it happened.
	unknown bool
	refused bool
	total   uint32
}

// register is an open job as an object: a list that grows at its end. An append names the
// place it belongs to, which makes it a compare-and-set; sent again, it is acknowledged
// again. The state is the payloads, joined.
var register = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		list, in, out := state.(string), input.(registerIn), output.(registerOut)
		have := strings.Split(list, ",")[1:]
		if in.read {
			return out.unknown || int(out.total) == len(have), list
		}
		at := int(in.at)
		switch {
		case at == len(have):
			// It fits. A refusal is wrong then.
			return !out.refused && (out.unknown || int(out.total) == at+1), list + "," + in.payload
		case at < len(have) && have[at] == in.payload:
			return !out.refused && (out.unknown || int(out.total) == len(have)), list
		default:
			return out.refused || out.unknown, list
		}
	},
	DescribeOperation: func(input, output any) string {
		in, out := input.(registerIn), output.(registerOut)
		answer := fmt.Sprint(out.total)
		switch {
		case out.unknown:
			answer = "?"
		case out.refused:
			answer = "refused"
		}
		if in.read {
			return "read() = " + answer
		}
		return fmt.Sprintf("append(%d, %s) = %s", in.at, in.payload, answer)
	},
}

// checkRegisters is S11.
func checkRegisters(v *view, r *Result) {
	for _, job := range v.registers() {
		ops := v.registerOps(job)
		r.Compared += len(ops)
		switch porcupine.CheckOperationsTimeout(register, ops, linearizeTimeout) {
		case porcupine.Illegal:
			r.problem("the %d operations on job %d have no order that explains them", len(ops), job)
		case porcupine.Unknown:
			r.Verdict = Unknown
			r.Note = fmt.Sprintf("no order of the operations on job %d was found within %v, nor that there is none", job, linearizeTimeout)
		}
	}
}

// registers is the jobs that are used as registers.
func (v *view) registers() []uint64 {
	seen := map[uint64]bool{}
	var jobs []uint64
	for i := range v.appends {
		if id := v.appends[i].In.Job; !seen[id] {
			seen[id] = true
			jobs = append(jobs, id)
		}
	}
	slices.Sort(jobs)
	return jobs
}

// registerOps is all operations on one job. What failed for certain never happened, and
// what nobody knows may happen at any later time.
func (v *view) registerOps(job uint64) []porcupine.Operation {
	var ops []porcupine.Operation
	for i := range v.appends {
		c := &v.appends[i]
		if c.In.Job != job || c.Type == history.Fail {
			continue
		}
		out := registerOut{unknown: c.Type == history.Info, refused: c.Out.Refused, total: c.Out.Total}
		end := c.End(v.end)
		if out.unknown {
			end = v.end + 1
		}
		ops = append(ops, porcupine.Operation{
			ClientId: c.Invoke.Process, Input: registerIn{at: c.In.At, payload: c.In.Payload}, Call: c.Invoke.Time, Output: out, Return: end,
		})
	}
	for i := range v.reads {
		// A read that nobody got an answer to says nothing.
		if c := &v.reads[i]; c.In.Job == job && c.Type == history.OK {
			ops = append(ops, porcupine.Operation{
				ClientId: c.Invoke.Process, Input: registerIn{read: true}, Call: c.Invoke.Time,
				Output: registerOut{total: c.Out.Total}, Return: c.Done.Time,
			})
		}
	}
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	return ops
}

// WriteRegisters writes Porcupine's own page about the first job whose operations have no
// order, to path. ok is false if there is none.
func WriteRegisters(ops []history.Op, path string) (ok bool, err error) {
	v, err := newView(ops)
	if err != nil {
		return false, err
	}
	for _, job := range v.registers() {
		result, info := porcupine.CheckOperationsVerbose(register, v.registerOps(job), linearizeTimeout)
		if result == porcupine.Illegal {
			return true, porcupine.VisualizePath(register, info, path)
		}
	}
	return false, nil
}
