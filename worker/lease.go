package worker

import (
	"sync"
	"time"
)

const (
	// An exclusive task starts while less than startShare percent of the lease has
	// passed, is asked to end at stopShare and is killed at killShare. What is left
	// behind killShare is for the kill itself to take effect.
	startShare = 50
	stopShare  = 60
	killShare  = 80

	// beatsPerLease and exclusiveBeatsPerLease set how often a beat is sent. With
	// exclusive tasks there are more, so that a lost leader costs no running task.
	beatsPerLease          = 3
	exclusiveBeatsPerLease = 10
	// silentShare is how long, in percent of the lease, a beat may stay unanswered
	// before another way to the leader is tried: twice within stopShare.
	silentShare = 25
	// maxBeats bounds the beats that are remembered unanswered.
	maxBeats = 64
)

// lease is what this worker knows of its session's lease. For ordinary tasks it only sets how often
// beats are sent. Exclusive tasks may run only within it: it counts from the time at which the newest
// acknowledged beat for exclusive tasks was sent.
type lease struct {
	mu     sync.Mutex
	length time.Duration
	// term is the highest seen. A server with a lower one was deposed; what it says
	// about leases may contradict what its successor decides.
	term uint64
	// renewed is when the beat was sent that the lease counts from, on bootNow.
	renewed time.Duration
	// seq is that of the newest beat.
	seq  uint64
	sent []sentBeat
	// lastBeat and lastExclusive are when beats were last sent on this stream; 0: not yet.
	lastBeat, lastExclusive time.Duration
}

type sentBeat struct {
	seq       uint64
	at        time.Duration
	exclusive bool
}

// observe takes note of a term, and says whether it is not outdated.
func (l *lease) observe(term uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.observeLocked(term)
}

func (l *lease) observeLocked(term uint64) bool {
	if term < l.term {
		return false
	}
	l.term = term
	return true
}

// refute goes back to a lower term, unless another one has come meanwhile.
func (l *lease) refute(term, reached uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.term == term {
		l.term = reached
	}
}

func (l *lease) highest() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.term
}

// welcome begins a stream. A new session needs a log entry, which only the true leader can commit, so
// its lease counts from the Hello. To attach to a session that exists proves nothing of the kind: the
// lease goes on as it was until a beat is answered.
func (l *lease) welcome(length, helloSent time.Duration, attached bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.length = length
	l.sent = nil
	l.lastBeat, l.lastExclusive = 0, 0
	if !attached {
		l.renewed = max(l.renewed, helloSent)
	}
}

// due is how long until the next beat.
func (l *lease) due(exclusive bool) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.lastBeat + l.length/beatsPerLease
	if exclusive {
		next = min(next, l.lastExclusive+l.length/exclusiveBeatsPerLease)
	}
	if l.lastBeat == 0 {
		next = 0
	}
	return max(0, next-bootNow())
}

// beat takes note that a beat is being sent, and returns its number.
func (l *lease) beat(exclusive bool) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	now := bootNow()
	l.lastBeat = now
	if exclusive {
		l.lastExclusive = now
	}
	if len(l.sent) == maxBeats {
		l.sent = l.sent[1:]
	}
	l.sent = append(l.sent, sentBeat{l.seq, now, exclusive})
	return l.seq
}

// acknowledge takes the answer to a beat. current is false where it came from a
// deposed leader; renewed says that the lease of exclusive tasks has grown.
func (l *lease) acknowledge(seq, term uint64) (current, renewed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.observeLocked(term) {
		return false, false
	}
	for len(l.sent) > 0 && l.sent[0].seq <= seq {
		// An answer stands for itself only: an earlier beat may have been for exclusive
		// tasks when this one was not.
		if b := l.sent[0]; b.seq == seq && b.exclusive && b.at > l.renewed {
			l.renewed = b.at
			renewed = true
		}
		l.sent = l.sent[1:]
	}
	return true, renewed
}

// unanswered says whether beats wait for their answers.
func (l *lease) unanswered() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.sent) > 0
}

// silence is how long a beat may stay unanswered.
func (l *lease) silence() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.length * silentShare / 100
}

// after is the moment at which this share of the lease has passed, on bootNow;
// 0: there was no lease yet.
func (l *lease) after(share time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.length == 0 {
		return 0
	}
	return l.renewed + l.length*share/100
}

// startable says whether an exclusive task may start.
func (l *lease) startable() bool { return bootNow() < l.after(startShare) }

// maxFenceTick and minFenceTick bound how often to check the lease while exclusive tasks run. A timer
// alone is not enough, because timers stand still while the machine is suspended.
const (
	maxFenceTick = 100 * time.Millisecond
	minFenceTick = 5 * time.Millisecond
)

func (l *lease) tick() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return min(maxFenceTick, max(minFenceTick, l.length/100))
}
