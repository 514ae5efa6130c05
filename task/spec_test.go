package task_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

func TestSpecsAreRefusedForWhatIsWrongWithThem(t *testing.T) {
	t.Parallel()
	pairs := func(n int) (out []task.Pair) {
		for i := range n {
			out = append(out, task.Pair{Key: fmt.Sprintf("k%03d", i)})
		}
		return out
	}
	for name, tt := range map[string]struct {
		change func(*task.Spec)
		kind   task.Kind
	}{
		"no work":               {func(s *task.Spec) { s.Handler = "" }, task.KindInvalid},
		"two kinds of work":     {func(s *task.Spec) { s.Command = []string{"c"} }, task.KindInvalid},
		"an empty command":      {func(s *task.Spec) { s.Handler, s.Command = "", []string{""} }, task.KindInvalid},
		"too many arguments":    {func(s *task.Spec) { s.Handler, s.Command = "", strings.Split(strings.Repeat("a ", task.MaxArgs), " ") }, task.KindTooLarge},
		"too long arguments":    {func(s *task.Spec) { s.Handler, s.Command = "", []string{strings.Repeat("a", task.MaxArgBytes+1)} }, task.KindTooLarge},
		"NUL in an argument":    {func(s *task.Spec) { s.Handler, s.Command = "", []string{"a\x00"} }, task.KindInvalid},
		"a queue with NUL":      {func(s *task.Spec) { s.Queue = "a\x00b" }, task.KindInvalid},
		"a queue not in UTF-8":  {func(s *task.Spec) { s.Queue = "\xff" }, task.KindInvalid},
		"a long name":           {func(s *task.Spec) { s.Name = strings.Repeat("n", task.MaxName+1) }, task.KindTooLarge},
		"an unknown policy":     {func(s *task.Spec) { s.Policy = 3 }, task.KindInvalid},
		"a high priority":       {func(s *task.Spec) { s.Priority = task.MaxPriority + 1 }, task.KindInvalid},
		"too many attempts":     {func(s *task.Spec) { s.MaxAttempts = task.MaxAttempts + 1 }, task.KindInvalid},
		"two starts":            {func(s *task.Spec) { s.Delay, s.NotBefore = 1, 1 }, task.KindInvalid},
		"a start before 1970":   {func(s *task.Spec) { s.NotBefore = -1 }, task.KindInvalid},
		"a negative timeout":    {func(s *task.Spec) { s.Timeout = -1 }, task.KindInvalid},
		"a long expiry":         {func(s *task.Spec) { s.Expire = task.MaxDelay + 1 }, task.KindInvalid},
		"a large payload":       {func(s *task.Spec) { s.SharedPayload = make([]byte, task.MaxPayload+1) }, task.KindTooLarge},
		"unsorted labels":       {func(s *task.Spec) { s.Require = []task.Pair{{Key: "b"}, {Key: "a"}} }, task.KindInvalid},
		"a label without a key": {func(s *task.Spec) { s.Require = []task.Pair{{Value: "v"}} }, task.KindInvalid},
		"too many labels":       {func(s *task.Spec) { s.Meta = pairs(task.MaxPairs + 1) }, task.KindTooLarge},
		"too long values":       {func(s *task.Spec) { s.Meta = []task.Pair{{Key: "k", Value: strings.Repeat("v", task.MaxPairBytes)}} }, task.KindTooLarge},
	} {
		s := &task.Spec{Handler: "h"}
		s.SetDefaults()
		require.NoError(t, s.Validate())
		tt.change(s)
		require.Equal(t, tt.kind, task.KindOf(s.Validate()), name)
	}
}

func TestSpecDefaults(t *testing.T) {
	t.Parallel()
	s := &task.Spec{}
	s.SetDefaults()
	require.Equal(t, &task.Spec{Queue: task.DefaultQueue, Policy: task.LeastLoaded, MaxAttempts: task.DefaultAttempts}, s)
	require.False(t, s.Exclusive())
	s.Serial = true
	require.True(t, s.Exclusive())
}

func TestIDsAreParsedAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"1", "42", "18446744073709551615"} {
		id, isTask, err := task.ParseID(s)
		require.NoError(t, err)
		require.False(t, isTask)
		require.Equal(t, s+".0", id.String())
	}
	id, isTask, err := task.ParseID("42.7")
	require.NoError(t, err)
	require.True(t, isTask)
	require.Equal(t, task.ID{Job: 42, Index: 7}, id)
	for _, s := range []string{"", "0", "-1", "4x", ".", "4.", ".7", "4.7.1", "4.4294967296", "18446744073709551616"} {
		_, _, err := task.ParseID(s)
		require.ErrorIs(t, err, task.ErrInvalid, "%q", s)
	}
}

func TestErrorsMatchByKind(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	err := fmt.Errorf("doing this: %w", &task.Error{Kind: task.KindConflict, Msg: "it is taken", RetryAfter: time.Second, Err: cause})
	require.ErrorIs(t, err, task.ErrConflict)
	require.NotErrorIs(t, err, task.ErrNotFound)
	require.ErrorIs(t, err, cause)
	require.Equal(t, "doing this: it is taken: cause", err.Error())
	require.Equal(t, task.KindConflict, task.KindOf(err))
	require.Equal(t, task.KindInternal, task.KindOf(cause))
	require.Equal(t, task.Kind(""), task.KindOf(nil))
	require.NotErrorIs(t, task.Errorf(task.KindConflict, "one"), task.Errorf(task.KindConflict, "other"))
}
