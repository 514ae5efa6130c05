package scheduler

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// Jobs that come one at a time go to equal workers in turn, and always in the same order: it does not depend on the
// order of the machine's maps.
func TestSingleTasksGoRoundIdleWorkers(t *testing.T) {
	t.Parallel()
	const workers, rounds = 4, 5
	spec := &task.Spec{Handler: "h"}
	spec.SetDefaults()
	for range 10 { // each machine has its maps in another order
		m := fsm.New(noHistory{}, fsm.NewWatchers())
		f := NewFleet(10 * time.Second)
		f.Begin(nil)
		for i := range uint64(workers) {
			data, err := fsm.EncodeEntry(fsm.GateVersion, 1, []*logpb.Op{{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{
				Session: &logpb.Session{Worker: string(rune('a' + i)), Nonce: []byte("1"), Slots: 2, Handlers: []string{"h"}},
			}}}})
			require.NoError(t, err)
			_, err = m.Apply(i+1, 1, data)
			require.NoError(t, err)
			require.True(t, f.Attach(i+1, &quiet{}))
		}
		var got, want []uint64
		for i := range uint64(workers * rounds) {
			assigns, done := f.Place(m, spec, 1)
			require.Len(t, assigns, 1)
			got, want = append(got, assigns[0].Session), append(want, i%workers+1)
			done() // it ends at once
		}
		require.Equal(t, want, got)
	}
}

// A job that is placed with its submit takes no worker that another job waits for: one before it in its queue, or
// any in another queue.
func TestPlacePassesNobody(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		waits  task.Spec
		placed bool
	}{
		"a job of the same class":          {waits: task.Spec{Handler: "b"}},
		"one of another class":             {waits: task.Spec{Handler: "a"}},
		"one of a higher priority":         {waits: task.Spec{Handler: "a", Priority: 1}},
		"one of a lower priority":          {waits: task.Spec{Handler: "a", Priority: -1}, placed: true},
		"one of another queue":             {waits: task.Spec{Handler: "a", Queue: "another", Priority: -1}},
		"one that needs a free slot":       {waits: task.Spec{Handler: "a", Serial: true}},
		"one that the worker cannot run":   {waits: task.Spec{Handler: "nobody's"}, placed: true},
		"one that another worker must run": {waits: task.Spec{Handler: "a", Require: []task.Pair{{Key: "zone", Value: "z"}}}, placed: true},
	} {
		d := newDesk(t)
		w := d.worker(&logpb.Session{Slots: 1, Handlers: []string{"a", "b"}})
		d.submit(&task.Spec{Handler: "a"}, 1)
		d.plan()
		c.waits.SetDefaults()
		d.submit(&c.waits, 1)
		d.finish(w)
		spec := &task.Spec{Handler: "b"}
		spec.SetDefaults()
		assigns, done := d.f.Place(d.m, spec, 1)
		require.Equal(t, c.placed, len(assigns) > 0, name)
		done()
	}
}

// Small jobs find a worker with room among thousands of others, however they differ.
func TestPlaceFindsWhoHasRoom(t *testing.T) {
	t.Parallel()
	const workers = 300
	d := newDesk(t)
	var last uint64
	for i := range workers {
		last = d.worker(&logpb.Session{Slots: 1, Handlers: []string{"h"}, Labels: []*logpb.Pair{{Key: "half", Value: fmt.Sprint(i % 2)}}})
	}
	d.submit(&task.Spec{Handler: "h"}, workers)
	d.plan()
	spec := &task.Spec{Handler: "h", Require: []task.Pair{{Key: "half", Value: "1"}}}
	spec.SetDefaults()
	assigns, _ := d.f.Place(d.m, spec, 1)
	require.Empty(t, assigns, "all are busy")
	d.finish(last)
	assigns, done := d.f.Place(d.m, spec, 3)
	require.Len(t, assigns, 1)
	require.Equal(t, last, assigns[0].Session)
	none, _ := d.f.Place(d.m, spec, 1)
	require.Empty(t, none, "its room is taken until the submit is applied")
	done()
}

// A small job is placed, however many classes wait, if these come after it or cannot use its worker. It is not
// placed if one of them comes before it.
func TestPlaceLooksAtNoMoreThanItMust(t *testing.T) {
	t.Parallel()
	const classes = 1100
	for name, c := range map[string]struct {
		waits  task.Spec
		placed bool
	}{
		"those who wait come behind":          {waits: task.Spec{Handler: "h", Priority: -1}, placed: true},
		"none of them can use it":             {waits: task.Spec{Handler: "nobody's"}, placed: true},
		"one of another queue can use it":     {waits: task.Spec{Handler: "h", Queue: "another", Priority: -1}},
		"one that comes before it can use it": {waits: task.Spec{Handler: "h"}},
	} {
		d := newDesk(t)
		s := &logpb.Session{Slots: 1, Handlers: []string{"h"}}
		for i := range classes {
			s.Labels = append(s.Labels, &logpb.Pair{Key: fmt.Sprint(i), Value: "x"})
		}
		w := d.worker(s)
		d.worker(&logpb.Session{Slots: 1, Handlers: []string{"another"}}) // somebody has room, so views look at what waits
		d.submit(&task.Spec{Handler: "h", Priority: 1}, 1)
		d.plan()
		for i := range classes {
			c.waits.Require = []task.Pair{{Key: fmt.Sprint(i), Value: "x"}}
			c.waits.SetDefaults()
			d.submit(&c.waits, 1)
		}
		require.Empty(t, d.plan(), "%s: the slot is taken", name)
		d.finish(w)
		spec := &task.Spec{Handler: "h"}
		spec.SetDefaults()
		assigns, done := d.f.Place(d.m, spec, 1)
		require.Equal(t, c.placed, len(assigns) > 0, name)
		done()
	}
}
