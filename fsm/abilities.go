package fsm

import (
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// abilities is what a worker can run. Workers that are alike share one, so that a view of
// thousands of them asks once, not once for each.
type abilities struct {
	key string
	// sessions counts those that share it.
	sessions int

	commands bool
	handlers map[string]struct{}
	queues   map[string]struct{}
	labels   map[string]string
}

// abilitiesOf returns the abilities of a session that is being opened, for it to share.
func (m *Machine) abilitiesOf(pb *logpb.Session) *abilities {
	own := &logpb.Session{Commands: pb.Commands, Handlers: pb.Handlers, Queues: pb.Queues, Labels: pb.Labels}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(own)
	if err != nil {
		panic("fsm: the parts of a session cannot be encoded: " + err.Error())
	}
	a := m.abilities[string(raw)]
	if a == nil {
		a = &abilities{key: string(raw), commands: pb.Commands, handlers: map[string]struct{}{}, queues: map[string]struct{}{}, labels: map[string]string{}}
		for _, h := range pb.Handlers {
			a.handlers[h] = struct{}{}
		}
		for _, q := range pb.Queues {
			a.queues[q] = struct{}{}
		}
		for _, l := range pb.Labels {
			a.labels[l.Key] = l.Value
		}
		m.abilities[a.key] = a
	}
	a.sessions++
	return a
}

// shareLess notes that a session shares a no more.
func (m *Machine) shareLess(a *abilities) {
	if a.sessions--; a.sessions == 0 {
		delete(m.abilities, a.key)
	}
}

// accept says whether tasks of a spec can be run with them.
func (a *abilities) accept(spec *task.Spec) bool {
	if spec.Handler == "" {
		if !a.commands {
			return false
		}
	} else if _, ok := a.handlers[spec.Handler]; !ok {
		return false
	}
	if len(a.queues) > 0 {
		if _, ok := a.queues[spec.Queue]; !ok {
			return false
		}
	}
	for _, p := range spec.Require {
		if v, ok := a.labels[p.Key]; !ok || v != p.Value {
			return false
		}
	}
	return true
}

// acceptEach says so of each of specs.
func (a *abilities) acceptEach(specs []*task.Spec) []bool {
	out := make([]bool, len(specs))
	for i, spec := range specs {
		out[i] = a.accept(spec)
	}
	return out
}
