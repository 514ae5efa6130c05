package task_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

// A field that a spec gets later is either for workers or named here.
func TestAWorkHasAllThatWorkersNeed(t *testing.T) {
	t.Parallel()
	// Fields that only servers use.
	forServers := []string{
		"Policy", "MaxParallel", "Priority", "MaxAttempts", "Delay", "NotBefore", "Expire", "Require", "Meta", "Retention", "Retried",
		// Each assignment has its own part of them.
		"Values",
	}
	named := map[string]string{"Name": "JobName", "Serial": "Exclusive"}
	spec := &task.Spec{
		Name: "n", Queue: "q", Handler: "h", Command: []string{"c"}, Env: []task.Pair{{Key: "k"}}, Cwd: "/", Placeholder: "{}",
		Stdout: task.StdoutFile, StdoutPath: "/out", Serial: true, Timeout: time.Second, SharedPayload: []byte("p"),
	}
	from, work := reflect.ValueOf(*spec), reflect.ValueOf(spec.Work())
	for field, value := range from.Fields() {
		name := field.Name
		if other, ok := named[name]; ok {
			name = other
		}
		got := work.FieldByName(name)
		if !got.IsValid() {
			require.Contains(t, forServers, name, "a worker is not told of it")
			continue
		}
		require.False(t, value.IsZero(), "set %s in the spec of this test", field.Name)
		require.Equal(t, value.Interface(), got.Interface(), field.Name)
	}
}
