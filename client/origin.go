package client

import (
	"sort"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// origin tells the tasks of a job apart: by the values of an array, and by what they were in the job
// that it retries.
type origin struct {
	values  []*rotav1.ValueRun
	retried []*rotav1.IndexRange
	// valueEnds and retriedEnds is behind which task each run ends.
	valueEnds, retriedEnds []uint32
	retryOf                uint64
}

func originOf(j *rotav1.Job) *origin {
	o := &origin{values: j.GetSpec().GetValues(), retried: j.GetRetried(), retryOf: j.GetRetryOf()}
	end := uint32(0)
	for _, r := range o.values {
		end += r.GetCount()
		o.valueEnds = append(o.valueEnds, end)
	}
	end = 0
	for _, r := range o.retried {
		end += r.GetCount()
		o.retriedEnds = append(o.retriedEnds, end)
	}
	return o
}

// runOf returns in which run task i is, and its place there; ok is false if it is in none.
func runOf(ends []uint32, i uint32) (run int, place uint32, ok bool) {
	run = sort.Search(len(ends), func(k int) bool { return i < ends[k] })
	if run == len(ends) {
		return 0, 0, false
	}
	if run > 0 {
		i -= ends[run-1]
	}
	return run, i, true
}

// describe says in a result which task it is of. Nothing is known of it where o is nil.
func (o *origin) describe(r *Result) {
	r.Value = r.Index
	if o == nil {
		return
	}
	r.RetryOf = task.ID{}
	if run, place, ok := runOf(o.valueEnds, r.Index); ok {
		v := o.values[run]
		r.Value = v.GetFirst() + place*v.GetStep()
	}
	if run, place, ok := runOf(o.retriedEnds, r.Index); ok {
		r.RetryOf = task.ID{Job: o.retryOf, Index: o.retried[run].GetFirst() + place}
	}
}

// WithInputs returns a handle on the same job whose results all have their Input. Otherwise those of
// tasks that failed have it.
func (j *Job) WithInputs() *Job {
	k := *j
	k.allInputs = true
	return &k
}

func (j *Job) inputs() rotav1.ResultInputs {
	if j.allInputs {
		return rotav1.ResultInputs_RESULT_INPUTS_ALL
	}
	return rotav1.ResultInputs_RESULT_INPUTS_FAILED
}

// input takes the next input of a group, nil if it has none.
func (r *Result) input(packed []byte) (rest []byte, err error) {
	r.Input, r.InputCut = nil, false
	if len(packed) == 0 {
		return nil, nil
	}
	whole, rest, ok := task.PackNext(packed)
	if !ok {
		return nil, malformed("the input of task %d is cut short", r.Index)
	}
	r.Input, r.InputCut = task.Input(whole)
	return rest, nil
}

// used takes what the next task of a group has used.
func (r *Result) used(packed []byte) (rest []byte, err error) {
	r.Usage = task.Usage{}
	if len(packed) == 0 {
		return nil, nil
	}
	encoded, rest, ok := task.PackNext(packed)
	if !ok {
		return nil, malformed("what task %d has used is cut short", r.Index)
	}
	r.Usage = task.ParseUsage(encoded)
	return rest, nil
}
