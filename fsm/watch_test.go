package fsm_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/task"
)

func TestWatchersOfAJobAreWokenByItsChanges(t *testing.T) {
	t.Parallel()
	watchers := fsm.NewWatchers()
	b := newBundle(t)
	b.m = fsm.New(nothing{}, watchers)
	s := b.openSession("w", 1)
	one, two := b.submit(&task.Spec{Handler: "h"}, 1), b.submit(&task.Spec{Handler: "h"}, 1)
	changed, stop := watchers.Watch(one)
	other, stopOther := watchers.Watch(one)
	stopOther()
	b.plan(two, 0, 1, s)
	require.Empty(t, changed)
	b.plan(one, 0, 1, s)
	b.must(cancelJobOp(one))
	require.Len(t, changed, 1, "changes that come while one waits are one")
	require.Empty(t, other)
	<-changed
	watchers.WakeAll()
	require.Len(t, changed, 1)
	stop()
}
