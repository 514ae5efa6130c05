package transport

import (
	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
)

const (
	// maxWorkSlots bounds the works that are remembered of a worker, of which there may be
	// thousands; each takes some 60 bytes.
	maxWorkSlots = 64
	// maxWorkBytes bounds what a worker is made to keep, whatever it says that it could.
	maxWorkBytes = 64 << 20
)

// works is what the worker at the other end of a stream keeps of the works of jobs, so that a
// shared payload is sent once and not with each assignment. Small works, which many jobs have that
// differ, are not kept: they would only displace large ones. The server alone decides what is
// kept under which number, within what the worker's hello allows.
type works struct {
	slots, bytes int
	// kept is by number - 1.
	kept []keptWork
	size int
	// looks counts the looks at it.
	looks uint64
}

type keptWork struct {
	id fsm.SpecID
	// size is how large the work is, bytes; 0: nothing is kept here.
	size int
	// look is the last one that found it.
	look uint64
}

func newWorks(hello *rotav1.Hello) works {
	return works{slots: int(min(hello.GetWorkSlots(), maxWorkSlots)), bytes: int(min(hello.GetWorkBytes(), maxWorkBytes))}
}

// number is where the worker keeps the work of a spec; 0: nowhere.
func (w *works) number(id fsm.SpecID) uint32 {
	w.looks++
	for i := range w.kept {
		if k := &w.kept[i]; k.size > 0 && k.id == id {
			k.look = w.looks
			return uint32(i + 1)
		}
	}
	return 0
}

// keep finds a number for one more, which is 0 if it is too large, and returns what is to be
// forgotten for it: what was looked for the longest time ago.
func (w *works) keep(id fsm.SpecID, size int) (number uint32, forget []uint32) {
	if w.slots == 0 || size == 0 || size > w.bytes {
		return 0, nil
	}
	for w.size+size > w.bytes {
		oldest := w.oldest()
		w.put(oldest, keptWork{})
		forget = append(forget, uint32(oldest+1))
	}
	at := w.free()
	switch {
	case at < 0:
		at = w.oldest() // what is put there takes its place
	case at == len(w.kept):
		w.kept = append(w.kept, keptWork{})
	}
	w.put(at, keptWork{id: id, size: size, look: w.looks})
	return uint32(at + 1), forget
}

func (w *works) put(at int, k keptWork) {
	w.size += k.size - w.kept[at].size
	w.kept[at] = k
}

// oldest is the place of what was looked for the longest time ago.
func (w *works) oldest() int {
	oldest := -1
	for i := range w.kept {
		if k := &w.kept[i]; k.size > 0 && (oldest < 0 || k.look < w.kept[oldest].look) {
			oldest = i
		}
	}
	return oldest
}

// free is a place where nothing is kept; -1: there is none.
func (w *works) free() int {
	for i := range w.kept {
		if w.kept[i].size == 0 {
			return i
		}
	}
	if len(w.kept) < w.slots {
		return len(w.kept)
	}
	return -1
}
