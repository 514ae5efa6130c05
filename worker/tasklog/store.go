package tasklog

import (
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// DefaultPerTask is how much is kept of one attempt if nobody says, bytes.
	DefaultPerTask = 16 << 20
	// DefaultTotal is how much is kept of all attempts if nobody says, bytes.
	DefaultTotal = 1 << 30
	// sureBlocks is how many blocks on disk each running log gets, whatever the others take.
	sureBlocks = 4
	// LeastPerSlot is how much of Config.Total a worker needs for each of its slots, bytes.
	LeastPerSlot = sureBlocks * BlockSize
	// maxMemory bounds the logs of ended attempts that are in memory, bytes: those of which nothing is on disk.
	maxMemory = 32 << 20
	// logOverhead is about what a log takes beside its blocks, bytes.
	logOverhead = 512
)

// Config is what a Store is made of.
type Config struct {
	// Dir is the folder for the file. It is made if it is missing.
	Dir string
	// PerTask is the most that is kept of one attempt, and Total the most that is kept of all, bytes; 0:
	// DefaultPerTask and DefaultTotal.
	PerTask, Total int64
	// Slots is how many attempts run at once.
	Slots  int
	Logger *slog.Logger
}

// Check says what is wrong with the configuration.
func (c *Config) Check() error {
	c.complete()
	if c.PerTask < LeastPerSlot {
		return fmt.Errorf("%d bytes of log for a task are too few: use %d at least", c.PerTask, LeastPerSlot)
	}
	if least := int64(c.Slots) * LeastPerSlot; c.Total < least {
		return fmt.Errorf("%d bytes for the logs of all tasks are too few for %d slots: use %d at least", c.Total, c.Slots, least)
	}
	return nil
}

func (c *Config) complete() {
	if c.PerTask == 0 {
		c.PerTask = DefaultPerTask
	}
	if c.Total == 0 {
		c.Total = max(DefaultTotal, int64(c.Slots)*LeastPerSlot)
	}
}

// Store has the logs of a worker.
type Store struct {
	cfg Config
	now func() time.Time
	// perTask is the most blocks that a log has on disk, total the most that all have, and common how many of them
	// running logs may have beside those of which they are sure.
	perTask, total, common int

	// file is where blocks are; nil: none was written yet. waiting is the blocks that are to be written.
	file    atomic.Pointer[os.File]
	waiting chan sealed
	stop    chan struct{}
	// begin starts the writer, at the first block.
	begin  sync.Once
	writer sync.WaitGroup
	// put writes to the file.
	put func(slot int, records []byte) error

	mu   sync.Mutex
	logs map[Key]*Log
	// opened is closed when a log is opened; nil: nobody waits.
	opened chan struct{}
	// free is the places in the file that nobody has, of those before places.
	free   []int
	places int
	// taken is how many blocks all logs have on disk, and extra how many of common the running ones have.
	taken, extra int
	// onDisk and inMemory are the logs that have ended, oldest first; memory is the size of those in memory, bytes.
	onDisk, inMemory endedLogs
	memory           int
}

// New makes a store. It writes nothing before a log has a full block.
func New(cfg Config) *Store {
	cfg.complete()
	s := &Store{
		cfg: cfg, now: time.Now, perTask: int(cfg.PerTask / BlockSize), total: int(cfg.Total / BlockSize),
		waiting: make(chan sealed, maxQueued), stop: make(chan struct{}), logs: map[Key]*Log{},
	}
	s.common = s.total - cfg.Slots*sureBlocks
	s.put = s.writeAt
	return s
}

// Close ends the store. What it has is lost.
func (s *Store) Close() {
	s.begin.Do(func() {}) // from now on nobody starts it
	close(s.stop)
	s.writer.Wait()
	if f := s.file.Load(); f != nil {
		_ = f.Close() // it has no name any more
	}
}

// Open begins the log of an attempt.
func (s *Store) Open(key Key) *Log {
	l := &Log{store: s, key: key}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs[key] = l
	if s.opened != nil {
		close(s.opened)
		s.opened = nil
	}
	return l
}

// Find returns the log of an attempt; nil: there is none, or not any more. Then opened is closed when the next log is
// opened.
func (s *Store) Find(key Key) (l *Log, opened <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l = s.logs[key]; l != nil {
		return l, nil
	}
	if s.opened == nil {
		s.opened = make(chan struct{})
	}
	return nil, s.opened
}

// takeSlot returns a place on disk for a running log that has a number of them already, for which logs that have ended
// make room; -1: it may have no more.
func (s *Store) takeSlot(has int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if has >= s.perTask || has >= sureBlocks && s.extra >= s.common {
			return -1
		}
		if s.taken < s.total {
			break
		}
		oldest := s.onDisk.pop()
		if oldest == nil {
			return -1 // more attempts run than there are slots
		}
		s.mu.Unlock()
		s.forget(oldest)
		s.mu.Lock()
	}
	s.taken++
	if has >= sureBlocks {
		s.extra++
	}
	if n := len(s.free); n > 0 {
		slot := s.free[n-1]
		s.free = s.free[:n-1]
		return slot
	}
	s.places++
	return s.places - 1
}

// freeSlot gives back a place on disk of a log that has left others.
func (s *Store) freeSlot(slot, left int, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, slot)
	s.taken--
	if !ended && left >= sureBlocks {
		s.extra--
	}
}

// settle puts a log that has ended among those that may go. The mu of the log is held.
func (s *Store) settle(l *Log) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case l.slots > 0:
		s.extra -= max(0, l.slots-sureBlocks)
		s.onDisk.push(l)
	case len(l.blocks) > 0:
		l.inMemory = l.memory()
		s.memory += l.inMemory
		s.inMemory.push(l)
	default:
		delete(s.logs, l.key) // there is nothing to read
	}
}

// trim lets logs go that have ended until the others are within bounds.
func (s *Store) trim() {
	for {
		s.mu.Lock()
		var oldest *Log
		switch {
		case s.onDisk.len() > s.total: // the disk has failed, and they have nothing there any more
			oldest = s.onDisk.pop()
		case s.memory > maxMemory:
			oldest = s.inMemory.pop()
		}
		s.mu.Unlock()
		if oldest == nil {
			return
		}
		s.forget(oldest)
	}
}

// forget lets go of a log that has ended. It is in no queue any more.
func (s *Store) forget(l *Log) {
	slots := l.drop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, slots...)
	s.taken -= len(slots)
	s.memory -= l.inMemory
	if s.logs[l.key] == l {
		delete(s.logs, l.key)
	}
}

// endedLogs is logs that have ended, oldest first.
type endedLogs struct {
	list []*Log
	// taken is how many at the front are gone.
	taken int
}

func (q *endedLogs) push(l *Log) { q.list = append(q.list, l) }

func (q *endedLogs) len() int { return len(q.list) - q.taken }

// pop takes the oldest one; nil: there is none.
func (q *endedLogs) pop() *Log {
	if q.taken == len(q.list) {
		return nil
	}
	l := q.list[q.taken]
	q.list[q.taken] = nil
	q.taken++
	if q.taken > len(q.list)/2 {
		n := copy(q.list, q.list[q.taken:])
		clear(q.list[n:])
		q.list, q.taken = q.list[:n], 0
	}
	return l
}
