package fsm

import (
	"fmt"
	"strings"
)

// MaxMissing bounds what Missing says, bytes: answers to submits carry it, and a message may have a
// thousand of these.
const MaxMissing = 1 << 10

// missingLooks bounds of how many sessions Missing asks whether they are connected, with the machine locked: there may
// be 20,000 whose workers are gone, with 64 labels each, and a stream may have thousands of jobs submitted at once. Where
// none of so many is, more is not known.
const missingLooks = 1000

// Missing returns why no connected worker can run what waits of a job: what none of them has, in MaxMissing
// bytes. There is nothing where some can, or nothing waits. connected says which sessions are, as no log
// knows; it is called with the machine locked.
func (m *Machine) Missing(id uint64, connected func(session uint64) bool) []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	j := m.jobs[id]
	if j == nil || j.counts.Waiting() == 0 {
		return nil
	}
	need := &j.spec.class.needs
	connected = upTo(missingLooks, connected)
	if m.have(m.accepting(need), connected) {
		return nil
	}
	if !m.someone(connected) {
		return []string{"no worker is connected"}
	}
	var missing []string
	lacks := func(why string, offers ...offer) {
		for _, o := range offers {
			if of := m.offering[o]; m.have(commonOf([]Set{of}, of, nil), connected) {
				return
			}
		}
		missing = append(missing, "no connected worker "+why)
	}
	if need.handler == "" {
		lacks("runs commands", offer{kind: offersCommands})
	} else {
		lacks(fmt.Sprintf("has the handler %q", need.handler), offer{kind: offersHandler, key: need.handler})
	}
	lacks(fmt.Sprintf("serves the queue %q", need.queue), offer{kind: offersAnyQueue}, offer{kind: offersQueue, key: need.queue})
	for _, p := range need.require {
		lacks(fmt.Sprintf("has the label %s=%s", p.Key, p.Value), offer{offersLabel, p.Key, p.Value})
	}
	if len(missing) == 0 {
		missing = append(missing, "no connected worker has all of it: "+need.String())
	}
	return fewWords(missing)
}

// upTo is connected for a number of sessions, and takes the others for connected.
func upTo(looks int, connected func(session uint64) bool) func(session uint64) bool {
	return func(session uint64) bool {
		looks--
		return looks < 0 || connected(session)
	}
}

// fewWords cuts reasons down to MaxMissing bytes, and says where there was more.
func fewWords(reasons []string) []string {
	const more = " ..."
	left := MaxMissing
	for i, why := range reasons {
		last := i == len(reasons)-1
		if len(why) <= left && (last || len(why) <= left-len(more)) {
			left -= len(why)
			continue
		}
		// The cut may go through a character, whose rest is dropped.
		reasons[i] = strings.ToValidUTF8(why[:min(len(why), left-len(more))], "") + more
		return reasons[:i+1]
	}
	return reasons
}

// String says what a worker must have.
func (n *needs) String() string {
	text := "commands"
	if n.handler != "" {
		text = fmt.Sprintf("the handler %q", n.handler)
	}
	text += fmt.Sprintf(", the queue %q", n.queue)
	for _, p := range n.require {
		text += fmt.Sprintf(", the label %s=%s", p.Key, p.Value)
	}
	return text
}

// have says whether one of the sessions with some abilities is among some.
func (m *Machine) have(able common, some func(session uint64) bool) bool {
	return !able.each(0, len(m.able), func(i int) bool { return !m.able[i].anyOf(some) })
}

// anyOf says whether one of the sessions with these abilities is among some.
func (a *abilities) anyOf(some func(session uint64) bool) bool {
	for _, s := range a.members {
		if some(s.pb.Id) {
			return true
		}
	}
	return false
}

// someone says whether any session is among some.
func (m *Machine) someone(some func(session uint64) bool) (found bool) {
	m.sessionOrder.Scan(func(id uint64, _ *session) bool {
		found = some(id)
		return !found
	})
	return found
}

// StartsAt returns the earliest start of a job in memory, Unix ns; 0: at once.
func (m *Machine) StartsAt(id uint64) int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if j := m.jobs[id]; j != nil {
		return j.notBefore
	}
	return 0
}
