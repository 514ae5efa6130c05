package task_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

func TestPoliciesAreParsedAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"least-loaded", "random"}, task.PolicyNames())
	require.Equal(t, "least-loaded", task.LeastLoaded.String())
	require.Equal(t, "random", task.Random.String())
	for _, name := range task.PolicyNames() {
		p, ok := task.ParsePolicy(name)
		require.True(t, ok, name)
		require.True(t, p.Valid(), name)
		require.Equal(t, name, p.String())
	}
	for _, name := range []string{"", "policy-0", "greedy"} {
		_, ok := task.ParsePolicy(name)
		require.False(t, ok, name)
	}
	require.Equal(t, "policy-0", task.Policy(0).String())
	require.Equal(t, "policy-255", task.Policy(255).String())
	require.False(t, task.Policy(0).Valid())
	require.False(t, task.Policy(3).Valid())
}
