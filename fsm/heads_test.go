package fsm

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rota-scheduler/rota/task"
)

// steps is a line of places for tests.
type steps struct{ left []place }

func (s *steps) first() place { return s.left[0] }

// Several lines, each in order, are walked as one line in order.
func TestLinesAreGoneThroughInOneOrder(t *testing.T) {
	t.Parallel()
	before := func(a, b place) int {
		if a.before(b) {
			return -1
		}
		return 1
	}
	rapid.Check(t, func(rt *rapid.T) {
		var lines heads[*steps]
		var want []place
		for _, priorities := range rapid.SliceOfN(rapid.SliceOfN(rapid.Int32Range(0, 5), 1, 6), 0, 12).Draw(rt, "lines") {
			s := &steps{}
			for _, p := range priorities {
				s.left = append(s.left, place{p, &job{id: uint64(len(want))}})
				want = append(want, s.left[len(s.left)-1])
			}
			slices.SortFunc(s.left, before)
			lines = append(lines, s)
		}
		slices.SortFunc(want, before)
		var got []place
		for lines.order(); len(lines) > 0; {
			s := lines[0]
			got = append(got, s.first())
			if s.left = s.left[1:]; len(s.left) > 0 {
				lines.sink(0)
			} else {
				lines.pop()
			}
		}
		if !slices.Equal(got, want) {
			rt.Fatalf("%v is gone through as %v", want, got)
		}
	})
}

// A walk visits each class of its pool once, in order of their heads.
func TestAWalkGoesThroughItsPool(t *testing.T) {
	t.Parallel()
	m := New(nil, nil)
	m.opens(t, "w", 1, []string{"h"}, "a", "b", "c")
	var want []*class
	var last *job
	for _, key := range []string{"b", "c", "a"} {
		last = m.submits(t, &task.Spec{Handler: "h", Require: yes(key)}, 1)
		want = append(want, last.spec.class)
	}
	w := &walk{pool: grouped(t, m, last)[0]}
	w.class, _ = w.pool.line.Min()
	got := []*class{w.class}
	for w.next() {
		require.Equal(t, w.class.head, w.first())
		got = append(got, w.class)
	}
	require.Len(t, got, len(want))
	for i := range want {
		require.Same(t, want[i], got[i])
	}
}
