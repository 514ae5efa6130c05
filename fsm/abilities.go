package fsm

import (
	"math/bits"

	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// abilities is what a worker can run. Workers that are alike share one, so that a view of
// thousands of them asks once, not once for each.
type abilities struct {
	key string
	// at is its place in Machine.able, and in the sets of those that accept a class.
	at int
	// members is the sessions that share it: first those with a free slot, idle of them, so that
	// one is found without a look at the others.
	members []*session
	idle    int

	commands bool
	handlers map[string]struct{}
	queues   map[string]struct{}
	labels   map[string]string
}

// join has a session that is being opened share the abilities of those that are like it.
func (m *Machine) join(s *session) {
	own := &logpb.Session{Commands: s.pb.Commands, Handlers: s.pb.Handlers, Queues: s.pb.Queues, Labels: s.pb.Labels}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(own)
	if err != nil {
		panic("fsm: the parts of a session cannot be encoded: " + err.Error())
	}
	a := m.abilities[string(raw)]
	if a == nil {
		a = newAbilities(string(raw), own)
		m.number(a)
	}
	s.able, s.member = a, len(a.members)
	a.members = append(a.members, s)
	a.freed(s)
}

func newAbilities(key string, pb *logpb.Session) *abilities {
	a := &abilities{key: key, commands: pb.Commands, handlers: map[string]struct{}{}, queues: map[string]struct{}{}, labels: map[string]string{}}
	for _, h := range pb.Handlers {
		a.handlers[h] = struct{}{}
	}
	for _, q := range pb.Queues {
		a.queues[q] = struct{}{}
	}
	for _, l := range pb.Labels {
		a.labels[l.Key] = l.Value
	}
	return a
}

// number gives a, which is new, a place of its own, and a part in what is known of classes.
func (m *Machine) number(a *abilities) {
	if n := len(m.ableFree); n > 0 {
		a.at, m.ableFree = m.ableFree[n-1], m.ableFree[:n-1]
		m.able[a.at] = a
	} else {
		a.at = len(m.able)
		m.able = append(m.able, a)
	}
	m.abilities[a.key] = a
	for _, c := range m.classes {
		if c.known {
			c.accepting.put(a.at, a.accept(&c.needs))
		}
	}
}

// part takes a session out that is over. It holds nothing any more.
func (m *Machine) part(s *session) {
	a := s.able
	a.taken(s)
	last := len(a.members) - 1
	a.swap(s.member, last)
	a.members[last] = nil
	a.members = a.members[:last]
	if last == 0 {
		delete(m.abilities, a.key)
		m.able[a.at] = nil
		m.ableFree = append(m.ableFree, a.at)
	}
}

// taken notes that a session has no free slot any more, freed that it has one again.
func (a *abilities) taken(s *session) {
	a.idle--
	a.swap(s.member, a.idle)
}

func (a *abilities) freed(s *session) {
	a.swap(s.member, a.idle)
	a.idle++
}

func (a *abilities) swap(i, k int) {
	of := a.members
	of[i], of[k] = of[k], of[i]
	of[i].member, of[k].member = i, k
}

// needs is what decides where tasks can run.
type needs struct {
	queue, handler string // handler: "" for commands
	require        []task.Pair
	exclusive      bool
}

func needsOf(s *task.Spec) needs { return needs{s.Queue, s.Handler, s.Require, s.Exclusive()} }

// accept says whether tasks with such needs can be run with them.
func (a *abilities) accept(n *needs) bool {
	if n.handler == "" {
		if !a.commands {
			return false
		}
	} else if _, ok := a.handlers[n.handler]; !ok {
		return false
	}
	if len(a.queues) > 0 {
		if _, ok := a.queues[n.queue]; !ok {
			return false
		}
	}
	for _, p := range n.require {
		if v, ok := a.labels[p.Key]; !ok || v != p.Value {
			return false
		}
	}
	return true
}

// accepts returns who accepts a class. It is found out when the class is first looked at, which
// is on a leader only, and kept from then on: a fleet may have as many abilities as workers.
func (m *Machine) accepts(c *class) Set {
	if !c.known {
		c.known, c.accepting = true, make(Set, len(m.able)/64+1)
		for _, a := range m.able {
			if a != nil {
				c.accepting.put(a.at, a.accept(&c.needs))
			}
		}
	}
	return c.accepting
}

// Set is a set of small numbers.
type Set []uint64

// Has says whether it has i.
func (s Set) Has(i int) bool { return i/64 < len(s) && s[i/64]&(1<<(i%64)) != 0 }

// put puts i in or takes it out.
func (s *Set) put(i int, in bool) {
	for i/64 >= len(*s) {
		*s = append(*s, 0)
	}
	if in {
		(*s)[i/64] |= 1 << (i % 64)
	} else {
		(*s)[i/64] &^= 1 << (i % 64)
	}
}

// both calls f for each number in both sets, in order, until it returns false.
func both(a, b Set, f func(i int) bool) {
	for k := range min(len(a), len(b)) {
		for word := a[k] & b[k]; word != 0; word &= word - 1 {
			if !f(64*k + bits.TrailingZeros64(word)) {
				return
			}
		}
	}
}
