package main

import (
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

// A new field of a spec must be named where two requests with the same key differ in it alone.
func TestAConflictNamesEachFieldThatDiffers(t *testing.T) {
	t.Parallel()
	// A key belongs to a queue; the payload is compared by its hash; map and retry set the others; a path says nothing alone.
	but := []string{"Queue", "SharedPayload", "Placeholder", "Retried", "StdoutPath"}
	for field := range reflect.TypeFor[task.Spec]().Fields() {
		if slices.Contains(but, field.Name) {
			continue
		}
		var there task.Spec
		v := reflect.ValueOf(&there).Elem().FieldByIndex(field.Index)
		switch {
		case v.Kind() == reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			if v.Index(0).Kind() == reflect.String {
				v.Index(0).SetString("c")
			}
		case v.Kind() == reflect.String:
			v.SetString("s")
		case v.Kind() == reflect.Bool:
			v.SetBool(true)
		case v.CanInt():
			v.SetInt(1)
		default:
			v.SetUint(1)
		}
		require.NotEmpty(t, differ(&task.Spec{}, &there), "%s: add it to differ", field.Name)
	}
}
