package transport

import (
	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
)

const (
	// maxWorkSlots bounds the works that a server remembers for a worker. There may be thousands of workers, and
	// each work takes some 60 bytes.
	maxWorkSlots = 64
	// maxWorkBytes bounds what a worker has to keep, even if its hello offers more.
	maxWorkBytes = 64 << 20
)

// works is the works of jobs that the worker at the other end of a stream keeps, so that a shared payload is sent once
// and not with each assignment. Small works are not kept: they would only displace large ones. The server alone
// decides which work is kept under which number, within the bounds of the worker's hello.
type works struct {
	slots, bytes int
	// kept is indexed by number - 1.
	kept []keptWork
	size int
	// looks counts the look-ups.
	looks uint64
}

type keptWork struct {
	id fsm.SpecID
	// size is the size of the work, bytes; 0: the place is free.
	size int
	// look is the number of the last look-up that found it.
	look uint64
}

func newWorks(hello *rotav1.Hello) works {
	return works{slots: int(min(hello.GetWorkSlots(), maxWorkSlots)), bytes: int(min(hello.GetWorkBytes(), maxWorkBytes))}
}

// number returns the number under which the worker keeps the work of a spec; 0: it does not keep it.
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

// keep finds a number for another work; 0: it is too large to be kept. It also returns the numbers that the worker has to
// forget for it: those that were looked up the longest time ago.
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
		at = w.oldest() // the new work takes its place
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

// oldest is the place of the work that was looked up the longest time ago.
func (w *works) oldest() int {
	oldest := -1
	for i := range w.kept {
		if k := &w.kept[i]; k.size > 0 && (oldest < 0 || k.look < w.kept[oldest].look) {
			oldest = i
		}
	}
	return oldest
}

// free is a free place; -1: there is none.
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
