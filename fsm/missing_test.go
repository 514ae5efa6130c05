package fsm_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/task"
)

func TestWhatNoConnectedWorkerHas(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	all := func(uint64) bool { return true }
	job := b.submit(&task.Spec{Handler: "other", Require: []task.Pair{{Key: "gpu", Value: "yes"}}}, 1)
	require.Equal(t, []string{"no worker is connected"}, b.m.Missing(job, all))
	s := b.openSession("w", 1)
	require.Equal(t, []string{"no worker is connected"}, b.m.Missing(job, func(id uint64) bool { return id != s }))
	require.Equal(t, []string{`no connected worker has the handler "other"`, "no connected worker has the label gpu=yes"}, b.m.Missing(job, all))
	runs := b.submit(&task.Spec{Handler: "h"}, 1)
	require.Empty(t, b.m.Missing(runs, all))
	b.plan(runs, 0, 1, s)
	require.Empty(t, b.m.Missing(runs, func(uint64) bool { return false }), "nothing waits")
	require.Empty(t, b.m.Missing(job+100, all), "there is no such job")
}

// Answers to submits contain it, and one message may have a thousand answers.
func TestWhatNoWorkerHasIsSaidInFewWords(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.openSession("w", 1)
	many, large := &task.Spec{Handler: "h"}, &task.Spec{Handler: "h"}
	for i := range task.MaxPairs {
		many.Require = append(many.Require, task.Pair{Key: fmt.Sprintf("label-%02d", i), Value: strings.Repeat("v", 400)})
	}
	large.Require = []task.Pair{{Key: "x", Value: strings.Repeat("é", task.MaxPairBytes/2-10)}}
	for _, spec := range []*task.Spec{many, large} {
		missing := b.m.Missing(b.submit(spec, 1), func(uint64) bool { return true })
		text := strings.Join(missing, "")
		require.LessOrEqual(t, len(text), fsm.MaxMissing)
		require.True(t, utf8.ValidString(text))
		require.Contains(t, missing[0], "no connected worker has the label "+spec.Require[0].Key)
		require.True(t, strings.HasSuffix(text, "..."), "it says that there is more: %s", text)
	}
}

// A submit asks while the machine is locked, and a stream may have thousands of submits at once.
func TestWhatNoWorkerHasIsAskedOfSoManyOnly(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for i := range 3000 {
		b.openSession(fmt.Sprint("w", i), 1)
	}
	for _, spec := range []*task.Spec{{Handler: "h"}, {Handler: "other", Queue: "q"}} {
		asked := 0
		b.m.Missing(b.submit(spec, 1), func(uint64) bool { asked++; return false })
		require.LessOrEqual(t, asked, 1000)
	}
	require.Equal(t, []string{`no connected worker has the handler "other"`}, b.m.Missing(b.submit(&task.Spec{Handler: "other"}, 1), func(uint64) bool { return false }))
	require.Empty(t, b.m.Missing(b.submit(&task.Spec{Handler: "h"}, 1), func(uint64) bool { return false }), "not all of them are known to be away")
}
