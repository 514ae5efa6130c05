package jsonv1_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/task"
)

func TestInputIsTextOrBase64(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		payload string
		cut     bool
		want    jsonv1.TaskInput
	}{
		{"", false, jsonv1.TaskInput{}},
		{"café", false, jsonv1.TaskInput{Input: "café"}},
		{"caf\xc3", true, jsonv1.TaskInput{Input: "caf"}},
		{"caf\xc3", false, jsonv1.TaskInput{InputBase64: "Y2Fmww=="}},
		{"\xffa", true, jsonv1.TaskInput{InputBase64: "/2E="}},
	} {
		require.Equal(t, tt.want, jsonv1.InputOf([]byte(tt.payload), tt.cut), "%q", tt.payload)
	}
}

func TestOutputIsTextOrBase64AndStandardErrorIsBoth(t *testing.T) {
	t.Parallel()
	var r jsonv1.Result
	r.SetOutput([]byte("\xff"))
	r.SetStderr([]byte("why\xff"))
	require.Equal(t, jsonv1.Result{OutputBase64: "/w==", Stderr: `why\xff`, StderrBase64: "d2h5/w=="}, r)
	r.SetOutput([]byte("café"))
	r.SetStderr([]byte("why"))
	require.Equal(t, jsonv1.Result{Output: "café", Stderr: "why"}, r)
	r.SetOutput(nil)
	r.SetStderr(nil)
	require.Equal(t, jsonv1.Result{}, r)
}

func TestTimesAreInUTCAndNullIfThereIsNone(t *testing.T) {
	t.Parallel()
	require.Nil(t, jsonv1.Time(time.Time{}))
	at := time.Date(2030, 1, 31, 20, 0, 0, 1, time.FixedZone("", 2*60*60))
	require.Equal(t, "\"2030-01-31T18:00:00.000000001Z\"\n", string(encode(t, jsonv1.Time(at))))
	require.Nil(t, jsonv1.TaskIDOf(task.ID{}))
	require.Equal(t, &jsonv1.TaskID{Job: 42, Task: 7}, jsonv1.TaskIDOf(task.ID{Job: 42, Index: 7}))
	require.Equal(t, "[]\n", string(encode(t, jsonv1.List[string](nil))))
	require.Equal(t, []int{1}, jsonv1.List([]int{1}))
	require.Equal(t, jsonv1.Usage{PeakMemoryBytes: 3, CPUMS: 1}, jsonv1.UsageOf(task.Usage{PeakMemory: 3, CPUTime: 1999 * time.Microsecond}))
}

func TestASpecAsUsersWriteIt(t *testing.T) {
	t.Parallel()
	var j jsonv1.Job
	j.SetSpec(&task.Spec{Policy: task.LeastLoaded, Handler: "h"})
	require.Equal(t, jsonv1.Job{Handler: "h", Execution: "parallel", Alloc: "least-loaded"}, j)
	spec := task.Spec{
		Name: "n", Queue: "q", Command: []string{"echo"}, Env: []task.Pair{{Key: "A", Value: "1"}}, Cwd: "/c", Stdout: task.StdoutFile, StdoutPath: "/a",
		Serial: true, Policy: task.Random, MaxParallel: 4, Priority: -5, MaxAttempts: 3, Timeout: 1500 * time.Millisecond, Retention: time.Hour,
		Require: []task.Pair{{Key: "l", Value: "v"}}, Meta: []task.Pair{{Key: "m", Value: "w"}},
	}
	j.SetSpec(&spec)
	require.Equal(t, jsonv1.Job{
		Name: "n", Queue: "q", Command: []string{"echo"}, Env: map[string]string{"A": "1"}, Cwd: "/c", Stdout: "file:/a",
		Execution: "serial", Alloc: "random", MaxParallel: 4, Priority: -5, MaxAttempts: 3, TimeoutMS: 1500, RetentionMS: 3_600_000,
		Require: map[string]string{"l": "v"}, Meta: map[string]string{"m": "w"},
	}, j)
	// Tasks have their values and payloads themselves, and a job has its StartsAt and RetryOf.
	notShown := []string{"Handler", "Placeholder", "Delay", "NotBefore", "Expire", "Values", "Retried", "SharedPayload"}
	for field, v := range reflect.ValueOf(spec).Fields() {
		if v.IsZero() {
			require.Contains(t, notShown, field.Name, "set it in the spec of this test: a new field of a spec is one of Job too")
		}
	}
}

func TestCountsHaveEachState(t *testing.T) {
	t.Parallel()
	c := task.Counts{
		task.Blocked: 1, task.Scheduled: 2, task.Pending: 3, task.Assigned: 4, task.Stopping: 5, task.Succeeded: 6, task.Failed: 7, task.Cancelled: 8,
	}
	require.Equal(t, jsonv1.TaskCounts{
		Total: 36, Blocked: 1, Scheduled: 2, Pending: 3, Assigned: 4, Stopping: 5, Succeeded: 6, Failed: 7, Cancelled: 8,
	}, jsonv1.CountsOf(36, &c))
}
