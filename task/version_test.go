package task_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

// beforeTheGate is the fields of a spec that each build with a version gate knows.
var beforeTheGate = []string{
	"Name", "Queue", "Handler", "Command", "Env", "Cwd", "Placeholder", "Stdout", "StdoutPath", "Policy", "Serial", "MaxParallel",
	"Priority", "MaxAttempts", "Timeout", "Delay", "NotBefore", "Expire", "Require", "Meta", "Retention", "Values", "Retried", "SharedPayload",
}

// A field that older builds do not know must need a version that they do not know. Otherwise a leader proposes it
// while they still vote, and they stop.
func TestEachNewFieldOfASpecNeedsAVersion(t *testing.T) {
	t.Parallel()
	const gate = 3
	known := 0
	for field := range reflect.TypeFor[task.Spec]().Fields() {
		if slices.Contains(beforeTheGate, field.Name) {
			known++
			continue
		}
		var spec task.Spec
		set(reflect.ValueOf(&spec).Elem().FieldByIndex(field.Index))
		require.Greater(t, spec.Needs(), uint32(gate), "%s: Spec.Needs must return the version that brings it (docs/upgrade.md)", field.Name)
		require.LessOrEqual(t, spec.Needs(), uint32(task.Version), field.Name)
	}
	require.Equal(t, len(beforeTheGate), known)
	require.Equal(t, uint32(1), (&task.Spec{}).Needs())
}

// set gives a field a value that is not its zero value.
func set(v reflect.Value) {
	switch {
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case v.Kind() == reflect.String:
		v.SetString("s")
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(1)
	default:
		v.SetUint(1)
	}
}
