package tasklog

import (
	"slices"
	"sync"
)

// Key names an attempt.
type Key struct {
	Job   uint64
	Index uint32
	// Token is its fencing token. No other attempt of the cluster has it.
	Token uint64
}

// Log is what an attempt prints. Its methods may be called by several goroutines at once.
type Log struct {
	store *Store
	key   Key

	// Lock order: mu of a log that has not been handed to the store as ended, mu of one that was, mu of the store.
	mu sync.Mutex
	// blocks is what there is of the log, oldest first. The last one is open: its records are in memory.
	blocks []*block
	// slots is how many blocks have a place on disk.
	slots int
	end   Position
	// ended: nothing more comes.
	ended bool
	// inMemory is what the store counts for the log, which has ended with nothing of it on disk, bytes. The mu of
	// the store guards it.
	inMemory int
	// changed is closed when something was appended, or the log has ended; nil: nobody waits.
	changed chan struct{}
}

// Key names the attempt.
func (l *Log) Key() Key { return l.key }

// Stdout takes what was read of the standard output. It waits for nobody.
func (l *Log) Stdout(data []byte) { l.append(Stdout, data) }

// Stderr takes what was read of the standard error. It waits for nobody.
func (l *Log) Stderr(data []byte) { l.append(Stderr, data) }

func (l *Log) append(s Stream, data []byte) {
	if len(data) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	now := l.store.now()
	for len(data) > 0 {
		if n := len(l.blocks); n > 0 && !l.blocks[n-1].gone && l.blocks[n-1].slot < 0 {
			if took := l.blocks[n-1].add(s, now, data); took > 0 {
				l.end, data = l.blocks[n-1].end, data[took:]
				continue
			}
			l.seal(l.blocks[n-1])
		}
		l.blocks = append(l.blocks, &block{start: l.end, end: l.end, began: now, slot: -1})
	}
	l.wake()
}

// End says that nothing more comes.
func (l *Log) End() {
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return
	}
	if n := len(l.blocks); n > 0 && l.slots > 0 && l.blocks[n-1].slot < 0 {
		// The others are on disk, and nobody may ask for it for hours.
		l.seal(l.blocks[n-1])
	}
	l.ended = true
	l.store.settle(l)
	l.wake()
	l.mu.Unlock()
	l.store.trim()
}

// memory is about how much the log takes, bytes, if nothing of it is on disk. mu is held.
func (l *Log) memory() (size int) {
	size = logOverhead
	for _, b := range l.blocks {
		size += cap(b.records)
	}
	return size
}

// seal gives the open block, which is the last one, a place on disk, and has it written there. mu is held.
func (l *Log) seal(b *block) {
	if b.slot = l.takeSlot(); b.slot < 0 || !l.store.write(l, b) {
		l.remove(b)
	}
}

// takeSlot returns a free place on disk. If the log may have no more, that of its oldest block; -1: it has none. mu
// is held.
func (l *Log) takeSlot() int {
	if slot := l.store.takeSlot(l.slots); slot >= 0 {
		l.slots++
		return slot
	}
	for _, b := range l.blocks {
		if b.slot < 0 {
			continue
		}
		slot := b.slot
		b.slot = -1
		l.remove(b)
		return slot
	}
	return -1
}

// remove takes a block out of the log, and gives its place on disk back. mu is held.
func (l *Log) remove(b *block) {
	if b.gone {
		return
	}
	b.gone, b.records = true, nil
	if i := slices.Index(l.blocks, b); i >= 0 {
		l.blocks = slices.Delete(l.blocks, i, i+1)
	}
	if b.slot >= 0 {
		l.slots--
		l.store.freeSlot(b.slot, l.slots, l.ended)
		b.slot = -1
	}
}

// drop removes all blocks, and returns their places on disk. The log has ended.
func (l *Log) drop() (slots []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.blocks {
		b.gone, b.records = true, nil
		if b.slot >= 0 {
			slots = append(slots, b.slot)
			b.slot = -1
		}
	}
	l.blocks, l.slots = nil, 0
	return slots
}

// wake wakes everybody who waits for news. mu is held.
func (l *Log) wake() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// news is closed when there is more, or the log has ended. mu is held.
func (l *Log) news() <-chan struct{} {
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.changed
}
