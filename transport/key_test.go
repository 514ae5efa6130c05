package transport

import (
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// A request whose answer was lost may be sent again when the version has risen: with a new default it is the same request.
func TestARequestKeyStandsForTheSameWhateverDefaultsItsVersionHas(t *testing.T) {
	t.Parallel()
	request := func(attempts uint32) *rotav1.SubmitRequest {
		return &rotav1.SubmitRequest{
			RequestKey: "k", Tasks: &rotav1.TaskSet{Count: 1},
			Spec: &rotav1.JobSpec{MaxAttempts: attempts, SharedPayload: []byte("p"), Work: &rotav1.JobSpec_Handler{Handler: &rotav1.HandlerWork{Name: "h"}}},
		}
	}
	before := task.RulesOf(task.Version)
	after := *before
	after.DefaultAttempts += 2
	hash := func(attempts uint32, rules *task.Rules) []byte {
		op, spec, err := submitOp(request(attempts), rules)
		require.NoError(t, err)
		if attempts == 0 {
			attempts = rules.DefaultAttempts
		}
		require.Equal(t, attempts, spec.MaxAttempts)
		return op.Hash
	}
	require.Equal(t, hash(0, before), hash(0, &after))
	require.Equal(t, hash(7, before), hash(7, &after))
	require.NotEqual(t, hash(0, &after), hash(7, &after))
	// Builds from before have put these hashes into the log.
	require.Equal(t, hash(0, before), hash(task.DefaultAttempts, before))
}
