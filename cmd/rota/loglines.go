package main

import (
	"bytes"
	"sync"
	"time"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

const (
	// longestLine is how much of a line is held until its end comes, bytes.
	longestLine = 64 << 10
	// heldLine is how long the beginning of a line is held.
	heldLine = 200 * time.Millisecond
)

// logLine is a line of the output of a command. Its part has the place, and who has printed it.
type logLine struct {
	part client.LogChunk
	text []byte
	// partial: its end has not come.
	partial bool
}

// logLines makes lines of the pieces of many logs, so that those of one task do not end up within those of another.
type logLines struct {
	// show prints a line. It is called by one goroutine at a time.
	show func(l *logLine) error

	mu sync.Mutex
	// held is the lines that have begun, by task and stream.
	held map[heldBy]*logLine
	// failed is the first error of show.
	failed error
	timer  *time.Timer
}

type heldBy struct {
	task   task.ID
	stream client.LogStream
}

func newLogLines(show func(l *logLine) error) *logLines {
	return &logLines{show: show, held: map[heldBy]*logLine{}}
}

// add takes a piece.
func (l *logLines) add(c *client.LogChunk) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := heldBy{c.Task, c.Stream}
	if held := l.held[key]; held != nil && (c.Missing > 0 || c.Token != held.part.Token) {
		l.release(key)
	}
	part := *c
	part.Data = nil
	for data := c.Data; len(data) > 0; {
		line := l.held[key]
		if line == nil {
			line = &logLine{part: part}
			l.held[key], part.Missing = line, 0
		}
		n, ended := bytes.IndexByte(data, '\n'), true
		room := longestLine - len(line.text)
		if n < 0 || n > room {
			n, ended = min(len(data), room), false
		}
		line.text = append(line.text, data[:n]...)
		data = data[n:]
		switch {
		case ended:
			data = data[1:]
			delete(l.held, key)
			l.put(line)
		case len(line.text) == longestLine:
			l.release(key)
		}
	}
	if len(l.held) > 0 && l.timer == nil {
		l.timer = time.AfterFunc(heldLine, l.releaseAll)
	}
	return l.failed
}

// ended takes note that an attempt has ended: what it has begun has no end.
func (l *logLines) ended(id task.ID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, stream := range []client.LogStream{client.StdoutStream, client.StderrStream} {
		l.release(heldBy{id, stream})
	}
	return l.failed
}

// close puts out what is held.
func (l *logLines) close() error {
	l.releaseAll()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

func (l *logLines) releaseAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	for key := range l.held {
		l.release(key)
	}
}

// release puts out a line whose end has not come. mu is held.
func (l *logLines) release(key heldBy) {
	if line := l.held[key]; line != nil {
		delete(l.held, key)
		line.partial = true
		l.put(line)
	}
}

func (l *logLines) put(line *logLine) {
	if l.failed == nil {
		l.failed = l.show(line)
	}
}
