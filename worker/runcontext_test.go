package worker

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Whatever is done with the context of a run, in whatever order, it behaves like one of context.WithCancelCause.
func TestRunContextIsLikeAnyOther(t *testing.T) {
	t.Parallel()
	type pair struct {
		got, want context.Context
		end       func() // of both; nil: they are of the run
	}
	type userKey struct{}
	causes := []error{nil, ErrStopped, ErrDropped}
	rapid.Check(t, func(t *rapid.T) {
		parent, cancelParent := context.WithCancelCause(context.WithValue(context.Background(), userKey{}, "value"))
		defer cancelParent(nil)
		run := &runContext{parent: parent}
		want, cancelWant := context.WithCancelCause(parent)
		defer cancelWant(nil)
		contexts := []pair{{got: run, want: want}}
		ended := func(c context.Context) bool {
			select {
			case <-c.Done():
				return true
			default:
				return false
			}
		}
		pick := func(t *rapid.T) pair { return rapid.SampledFrom(contexts).Draw(t, "which") }
		t.Repeat(map[string]func(*rapid.T){
			"cancel": func(t *rapid.T) {
				cause := rapid.SampledFrom(causes).Draw(t, "cause")
				run.cancel(cause)
				cancelWant(cause)
			},
			"cancel the parent": func(t *rapid.T) {
				cause := rapid.SampledFrom(causes).Draw(t, "cause")
				cancelParent(cause)
			},
			"derive": func(t *rapid.T) {
				p := pick(t)
				got, cancelGot := context.WithCancel(p.got)
				want, cancelWant := context.WithCancel(p.want)
				contexts = append(contexts, pair{got, want, func() { cancelGot(); cancelWant() }})
			},
			"end what was derived": func(t *rapid.T) {
				if p := pick(t); p.end != nil {
					p.end()
				}
			},
			"err":   func(t *rapid.T) { p := pick(t); require.Equal(t, p.want.Err(), p.got.Err()) },
			"cause": func(t *rapid.T) { p := pick(t); require.Equal(t, context.Cause(p.want), context.Cause(p.got)) },
			"done":  func(t *rapid.T) { p := pick(t); require.Equal(t, ended(p.want), ended(p.got)) },
			"value": func(t *rapid.T) {
				p := pick(t)
				require.Equal(t, p.want.Value(userKey{}), p.got.Value(userKey{}))
				require.Nil(t, p.got.Value("unknown"))
			},
		})
	})
}

// A handler may keep its context for longer than it runs.
func TestRunContextEndsWhoWaitsForIt(t *testing.T) {
	t.Parallel()
	run := &runContext{parent: t.Context()}
	told := make(chan error, 1)
	defer context.AfterFunc(run, func() { told <- context.Cause(run) })()
	run.cancel(ErrStopped)
	require.ErrorIs(t, <-told, ErrStopped)

	late := &runContext{parent: t.Context()}
	late.cancel(nil)
	<-late.Done()
	require.ErrorIs(t, late.Err(), context.Canceled)
}

// A handler may print its context. Under the race detector this fails if fields are read.
func TestRunContextIsPrintedWhileItEnds(t *testing.T) {
	t.Parallel()
	run := &runContext{parent: t.Context()}
	go run.cancel(nil)
	require.Equal(t, "the context of a task", fmt.Sprint(run))
}
