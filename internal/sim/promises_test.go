package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/task"
)

func kept(t *testing.T) (p *Promises, problems *[]string) {
	t.Helper()
	problems = new([]string)
	return NewPromises(func(format string, args ...any) { *problems = append(*problems, fmt.Sprintf(format, args...)) }), problems
}

func at(second int) time.Time { return time.Unix(int64(second), 0) }

func ended(k AttemptKey, state task.State) Outcome {
	o := Outcome{Index: k.Index, Cursor: 3, State: state, Attempt: 1, Granted: true, Token: k.Token}
	if state == task.Succeeded {
		o.Output, o.Missing = k.Output(), k.Missing()
	}
	return o
}

// modelOf is a model of one job with a task that has ended so under a token.
func modelOf(key string, state task.State, token uint64) *Model {
	m := NewModel()
	k := AttemptKey{task.ID{Job: 1}, token}
	t := &Task{State: state, Attempt: 1, Token: token, GrantedWhenEnded: true, Cursor: 3}
	if state == task.Succeeded {
		t.Output, t.OutputMissing = []byte(k.Output()), k.Missing()
	}
	m.Jobs[1] = &Job{ID: 1, Key: key, Spec: &task.Spec{Queue: "q"}, Tasks: []*Task{t}}
	m.Keys[KeyName{"q", key}] = &Key{Job: 1}
	return m
}

// None of these may ever be said. The checker must see each of them.
func TestPromisesSeeContradictions(t *testing.T) {
	t.Parallel()
	id, neighbour := task.ID{Job: 1, Index: 2}, task.ID{Job: 1, Index: 3}
	seven, eight := AttemptKey{id, 7}, AttemptKey{id, 8}
	key := KeyName{"q", "k"}
	for name, notes := range map[string]func(p *Promises){
		"two jobs of one key": func(p *Promises) {
			p.Submitted(key, fsm.Result{Job: 1})
			p.Submitted(key, fsm.Result{Job: 2, Existed: true})
		},
		"one key new twice": func(p *Promises) {
			p.Submitted(key, fsm.Result{Job: 1})
			p.Submitted(key, fsm.Result{Job: 1})
		},
		"one key new after it was known": func(p *Promises) {
			p.InOrder = true
			p.Submitted(key, fsm.Result{Job: 1, Existed: true})
			p.Submitted(key, fsm.Result{Job: 1})
		},
		"a token that does not rise": func(p *Promises) {
			p.Granted(1, seven)
			p.Granted(2, AttemptKey{neighbour, 7})
		},
		"a token sent for two tasks": func(p *Promises) {
			p.Sent(seven)
			p.Sent(AttemptKey{neighbour, 7})
		},
		"two successes": func(p *Promises) {
			p.Reported(seven, task.OutcomeSucceeded, fsm.Recorded)
			p.Reported(eight, task.OutcomeSucceeded, fsm.Recorded)
		},
		"a success that is taken back": func(p *Promises) {
			p.Reported(seven, task.OutcomeSucceeded, fsm.Recorded)
			p.Reported(seven, task.OutcomeSucceeded, fsm.Superseded)
		},
		"a refused success that counts": func(p *Promises) {
			p.Reported(seven, task.OutcomeSucceeded, fsm.Superseded)
			p.Reported(seven, task.OutcomeSucceeded, fsm.Already)
		},
		"a granted task that is unknown": func(p *Promises) { p.Reported(seven, task.OutcomeSucceeded, fsm.Unknown) },
		"exclusive tasks at once": func(p *Promises) {
			p.Ran(seven, "w1", at(1), at(3))
			p.Ran(AttemptKey{neighbour, 9}, "w2", at(2), at(4))
		},
		"an outcome that changes": func(p *Promises) {
			p.Saw("n1", 1, ended(seven, task.Succeeded))
			p.Saw("n2", 1, ended(seven, task.Failed))
		},
		"an outcome of another attempt": func(p *Promises) {
			p.Saw("n1", 1, ended(seven, task.Succeeded))
			p.Saw("n1", 1, ended(eight, task.Succeeded))
		},
		"two outcomes in one place": func(p *Promises) {
			p.Saw("n1", 1, ended(seven, task.Succeeded))
			p.Saw("n1", 1, ended(AttemptKey{neighbour, 9}, task.Succeeded))
		},
		"the output of another attempt": func(p *Promises) {
			o := ended(seven, task.Succeeded)
			o.Output = eight.Output()
			p.Saw("n1", 1, o)
		},
		"a lost submit": func(p *Promises) {
			p.Submitted(key, fsm.Result{Job: 1})
			p.Settle(NewModel())
		},
		"a key of another job": func(p *Promises) {
			p.Submitted(key, fsm.Result{Job: 2})
			p.Settle(modelOf("k", task.Succeeded, 7))
		},
		"a worker that was sent what nobody granted": func(p *Promises) {
			p.Sent(seven)
			p.Settle(NewModel())
		},
		"a lost success": func(p *Promises) {
			p.Reported(AttemptKey{task.ID{Job: 1}, 7}, task.OutcomeSucceeded, fsm.Recorded)
			p.Settle(modelOf("k", task.Failed, 7))
		},
		"a refused success that was recorded": func(p *Promises) {
			p.Reported(AttemptKey{task.ID{Job: 1}, 7}, task.OutcomeSucceeded, fsm.Superseded)
			p.Settle(modelOf("k", task.Succeeded, 7))
		},
		"an outcome that the log does not know": func(p *Promises) {
			p.Saw("n1", 1, ended(AttemptKey{task.ID{Job: 1}, 7}, task.Failed))
			p.Settle(modelOf("k", task.Succeeded, 7))
		},
	} {
		p, problems := kept(t)
		notes(p)
		require.Len(t, *problems, 1, name)
	}
}

func TestPromisesTakeWhatIsRight(t *testing.T) {
	t.Parallel()
	p, problems := kept(t)
	id := task.ID{Job: 1}
	seven, eight := AttemptKey{id, 7}, AttemptKey{id, 8}
	key := KeyName{"q", "k"}
	require.True(t, p.Submitted(key, fsm.Result{Job: 1, Existed: true}), "the first answer was lost")
	require.False(t, p.Submitted(key, fsm.Result{Job: 1}), "it comes late")
	require.True(t, p.Acknowledged(key))
	p.Granted(1, seven)
	require.True(t, p.Sent(seven))
	require.False(t, p.Sent(seven), "it was sent again")
	require.True(t, p.WasGranted(seven))
	require.False(t, p.WasGranted(AttemptKey{task.ID{Job: 2}, 7}))
	p.Reported(seven, task.OutcomeFailed, fsm.Recorded)
	p.Reported(seven, task.OutcomeFailed, fsm.Superseded) // another attempt is due
	p.Granted(2, eight)
	p.Sent(eight)
	require.True(t, p.Reported(eight, task.OutcomeSucceeded, fsm.Recorded))
	require.False(t, p.Reported(eight, task.OutcomeSucceeded, fsm.Already))
	token, ok := p.Success(id)
	require.True(t, ok)
	require.EqualValues(t, 8, token)
	p.Ran(seven, "w1", at(1), at(2))
	p.Ran(eight, "w2", at(2), at(3))
	require.True(t, p.Saw("n1", 1, ended(eight, task.Succeeded)))
	require.False(t, p.Saw("n2", 1, ended(eight, task.Succeeded)))
	p.Settle(modelOf("k", task.Succeeded, 8))
	require.Empty(t, *problems)
}
