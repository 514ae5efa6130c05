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
	// sessions counts those that share it: with the last one it goes.
	sessions int

	commands bool
	handlers map[string]struct{}
	queues   map[string]struct{}
	labels   map[string]string

	abilitiesDerived
}

// abilitiesOf returns the abilities of a session that is being opened, which it shares with those that are like it.
func (m *Machine) abilitiesOf(pb *logpb.Session) *abilities {
	own := &logpb.Session{Commands: pb.Commands, Handlers: pb.Handlers, Queues: pb.Queues, Labels: pb.Labels}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(own)
	if err != nil {
		panic("fsm: the parts of a session cannot be encoded: " + err.Error())
	}
	a := m.abilities[string(raw)]
	if a == nil {
		a = newAbilities(string(raw), own)
		m.abilities[a.key] = a
	}
	a.sessions++
	return a
}

// dropAbilities is the inverse of abilitiesOf.
func (m *Machine) dropAbilities(a *abilities) {
	if a.sessions--; a.sessions == 0 {
		delete(m.abilities, a.key)
	}
}

// join puts a session among those that share its abilities.
func (m *Machine) join(s *session) {
	a := s.able
	if len(a.members) == 0 {
		m.number(a)
	}
	s.member = len(a.members)
	a.members = append(a.members, s)
	if s.assigned < s.slots {
		a.freed(s)
	}
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

// number gives a, which is new, a place of its own, and notes what it offers there.
func (m *Machine) number(a *abilities) {
	if n := len(m.ableFree); n > 0 {
		a.at, m.ableFree = m.ableFree[n-1], m.ableFree[:n-1]
		m.able[a.at] = a
	} else {
		a.at = len(m.able)
		m.able = append(m.able, a)
	}
	a.offers(func(o offer) {
		of := m.offering[o]
		of.Put(a.at)
		m.offering[o] = of
	})
	m.fleet++
	m.joined[m.fleet%maxJoined] = a
}

// maxJoined is how many of the newest abilities are remembered in the order in which they came. If no more have come,
// it is cheaper to ask each class about these than to make the pools anew.
const maxJoined = 8

// joinedSince returns the abilities that have come since an earlier fleet. all is false if they are too many.
func (m *Machine) joinedSince(fleet uint64) (joined []*abilities, all bool) {
	if m.fleet-fleet > maxJoined {
		return nil, false
	}
	for ; fleet < m.fleet; fleet++ {
		if a := m.joined[(fleet+1)%maxJoined]; m.able[a.at] == a {
			joined = append(joined, a)
		}
	}
	return joined, true
}

// unnumber is the inverse of number. Pools may name the place of a until another one gets it.
func (m *Machine) unnumber(a *abilities) {
	m.able[a.at] = nil
	m.ableFree = append(m.ableFree, a.at)
	a.offers(func(o offer) {
		of := m.offering[o]
		if of.remove(a.at); len(of) == 0 {
			delete(m.offering, o)
		} else {
			m.offering[o] = of
		}
	})
}

// part is the inverse of join, for a session that is over. It holds nothing any more.
func (m *Machine) part(s *session) {
	a := s.able
	a.taken(s)
	last := len(a.members) - 1
	a.swap(s.member, last)
	a.members[last] = nil
	a.members = a.members[:last]
	if last == 0 {
		m.unnumber(a)
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

// offer is one thing that a worker can have and a task can need.
type offer struct {
	kind       offerKind
	key, value string
}

type offerKind uint8

const (
	offersCommands offerKind = iota
	offersHandler
	offersQueue
	offersAnyQueue // it has named none
	offersLabel
)

// offers calls f for each thing that a worker with them has.
func (a *abilities) offers(f func(offer)) {
	if a.commands {
		f(offer{kind: offersCommands})
	}
	for h := range a.handlers {
		f(offer{kind: offersHandler, key: h})
	}
	if len(a.queues) == 0 {
		f(offer{kind: offersAnyQueue})
	}
	for q := range a.queues {
		f(offer{kind: offersQueue, key: q})
	}
	for k, v := range a.labels {
		f(offer{offersLabel, k, v})
	}
}

// accepting returns the abilities that accept tasks with such needs. It goes through those that offer the rarest
// thing that the tasks need, however many other workers and classes there are.
func (m *Machine) accepting(n *needs) common {
	runs := offer{kind: offersCommands}
	if n.handler != "" {
		runs = offer{kind: offersHandler, key: n.handler}
	}
	all := append(make([]Set, 0, 4), m.offering[runs])
	for _, p := range n.require {
		all = append(all, m.offering[offer{offersLabel, p.Key, p.Value}])
	}
	return commonOf(all, m.offering[offer{kind: offersAnyQueue}], m.offering[offer{kind: offersQueue, key: n.queue}])
}
