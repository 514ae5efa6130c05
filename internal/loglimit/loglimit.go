package loglimit

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// Pause is the time in which lines of one kind are counted.
	Pause = time.Minute
	// Most is how many of them are shown in it: those of a rack of workers that starts.
	Most = 32
)

// Lines writes lines of a few kinds to a log. It is safe for concurrent use.
type Lines struct {
	log *slog.Logger

	mu     sync.Mutex
	closed bool
	kinds  map[string]*kind
}

// kind is the lines that begin with the same words.
type kind struct {
	level       slog.Level
	shown, held int
	next        *time.Timer
}

// New returns the lines of a log. Close is to be called when no more come.
func New(log *slog.Logger) *Lines { return &Lines{log: log, kinds: map[string]*kind{}} }

// Info writes a line, or counts it. Kinds of lines differ in msg, which is a constant.
func (l *Lines) Info(msg string, args ...any) { l.say(slog.LevelInfo, msg, args) }

// Warn does what Info does, for warnings.
func (l *Lines) Warn(msg string, args ...any) { l.say(slog.LevelWarn, msg, args) }

func (l *Lines) say(level slog.Level, msg string, args []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kinds[msg]
	if k == nil && !l.closed {
		k = &kind{level: level}
		k.next = time.AfterFunc(Pause, func() { l.again(msg) })
		l.kinds[msg] = k
	}
	if k != nil && k.shown == Most {
		k.held++
		return
	}
	if k != nil {
		k.shown++
	}
	l.write(level, msg, args...)
}

// again says how many lines were held back, or begins anew where they were few.
func (l *Lines) again(msg string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kinds[msg]
	if l.closed || k == nil {
		return
	}
	few := k.held < Most
	l.count(msg, k)
	if few {
		delete(l.kinds, msg)
		return
	}
	k.next.Reset(Pause)
}

// count says how many lines of a kind were held back, where any were. mu is held.
func (l *Lines) count(msg string, k *kind) {
	if k.held > 0 {
		l.write(k.level, msg, "more_of_them", k.held)
		k.held = 0
	}
}

func (l *Lines) write(level slog.Level, msg string, args ...any) {
	switch level {
	case slog.LevelWarn:
		l.log.Warn(msg, args...)
	default:
		l.log.Info(msg, args...)
	}
}

// Close says what was held back so far.
func (l *Lines) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for msg, k := range l.kinds {
		k.next.Stop()
		l.count(msg, k)
	}
	clear(l.kinds)
}
