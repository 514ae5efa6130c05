package fsm

import (
	"fmt"
	"strings"
)

// MaxMissing bounds the reasons that Missing returns, bytes. Answers to submits carry them, and a message may have a
// thousand answers.
const MaxMissing = 1 << 10

// missingLooks is how many sessions Missing checks for a connection at most, because it holds the machine's lock: there
// may be 20,000 sessions whose workers are gone, with 64 labels each, and a stream may submit thousands of jobs at once.
// After that many, Missing takes the others for connected.
const missingLooks = 1000

// Missing returns why no connected worker can run the waiting tasks of a job, in at most MaxMissing bytes: what none of
// these workers has. It returns nothing if one of them can, or if no task waits. connected says whether a session is
// connected, which is in no log; Missing calls it with the machine locked.
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

// upTo asks connected about so many sessions, and takes all others for connected.
func upTo(looks int, connected func(session uint64) bool) func(session uint64) bool {
	return func(session uint64) bool {
		looks--
		return looks < 0 || connected(session)
	}
}

// fewWords shortens reasons to MaxMissing bytes, and shows where it has left something out.
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

// have says whether some accepts one of the sessions with these abilities.
func (m *Machine) have(able common, some func(session uint64) bool) bool {
	return !able.each(0, len(m.able), func(i int) bool { return !m.able[i].anyOf(some) })
}

// anyOf says whether some accepts one of the sessions with these abilities.
func (a *abilities) anyOf(some func(session uint64) bool) bool {
	for _, s := range a.members {
		if some(s.pb.Id) {
			return true
		}
	}
	return false
}

// someone says whether some accepts any session.
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
