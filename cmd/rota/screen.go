package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

const (
	// flushEvery is how long data may wait before it is written out.
	flushEvery = 50 * time.Millisecond
	// pollEvery is how often to update the bar of a terminal, lineEvery how often to
	// print a line without a terminal.
	pollEvery = 500 * time.Millisecond
	lineEvery = 10 * time.Second
	// pollTimeout bounds one question about progress.
	pollTimeout = 5 * time.Second
	barWidth    = 30
)

// screen writes data to standard output and progress to standard error. If both are one
// terminal, it keeps each line of them whole.
type screen struct {
	a *app

	mu  sync.Mutex
	out *bufio.Writer
	// failed is the first error of writing data: the reader has gone, or the disk is full.
	failed error
	// onFailure is called with that error, so that nobody waits for more data; nil: nobody does.
	onFailure func(error)
	bar       string
	drawn     bool

	cancel context.CancelFunc
	parts  sync.WaitGroup
}

// newScreen returns a screen that shows the progress of a job until it is closed.
// Without a job it shows none.
func (a *app) newScreen(ctx context.Context, job *client.Job) *screen {
	s := &screen{a: a, out: bufio.NewWriterSize(a.out, 64<<10)}
	ctx, s.cancel = context.WithCancel(ctx)
	s.parts.Go(func() { s.keepFlushing(ctx) })
	if job != nil {
		s.parts.Go(func() { s.follow(ctx, job) })
	}
	return s
}

// data writes data: f writes it to w.
func (s *screen) data(f func(w io.Writer) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	s.fail(f(s.out))
	return s.failed
}

// fail notes the first error of writing data; mu is held.
func (s *screen) fail(err error) {
	if err == nil || s.failed != nil {
		return
	}
	s.failed = err
	if s.onFailure != nil {
		s.onFailure(err)
	}
}

// say prints a message for people.
func (s *screen) say(format string, args ...any) { s.sayBehind(nil, format, args...) }

// sayBehind passes on what a task has written to standard error, as it is, and then prints a message
// for people.
func (s *screen) sayBehind(stderr []byte, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passOn(stderr)
	s.a.say(format, args...)
}

// pass passes on what a task has written to standard error.
func (s *screen) pass(stderr []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passOn(stderr)
}

// passPiece passes on a piece of what a task writes to standard error, as it comes.
func (s *screen) passPiece(stderr []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	s.flush()
	_, _ = s.a.err.Write(stderr) // nobody can be told
}

// passOn does the work of pass; mu is held.
func (s *screen) passOn(stderr []byte) {
	s.erase()
	// Data goes first: what follows may be about it.
	s.flush()
	if stderr = bytes.TrimRight(stderr, "\n"); len(stderr) > 0 {
		fmt.Fprintf(s.a.err, "%s\n", stderr)
	}
}

// close writes out what waits, removes the bar, and returns the first error of writing data.
func (s *screen) close() error {
	s.cancel()
	s.parts.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	s.flush()
	if s.failed != nil {
		return fmt.Errorf("write to standard output: %w", s.failed)
	}
	return nil
}

func (s *screen) flush() {
	s.fail(s.out.Flush())
}

func (s *screen) erase() {
	if s.drawn {
		fmt.Fprint(s.a.err, "\r\x1b[K")
		s.drawn = false
	}
}

func (s *screen) keepFlushing(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		if s.out.Buffered() > 0 {
			s.flush()
		}
		if s.a.errTTY && s.bar != "" && !s.drawn {
			fmt.Fprint(s.a.err, s.bar)
			s.drawn = true
		}
		s.mu.Unlock()
	}
}

// follow asks for the progress of the job and shows it.
func (s *screen) follow(ctx context.Context, job *client.Job) {
	every := lineEvery
	if s.a.errTTY {
		every = pollEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		text := fmt.Sprintf("job %d: the servers do not answer; still trying", job.ID())
		ask, cancel := context.WithTimeout(ctx, pollTimeout)
		info, err := job.Info(ask)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			text = progressText(info)
		}
		if !s.a.errTTY {
			s.say("rota: %s", text)
			continue
		}
		s.mu.Lock()
		s.erase()
		s.bar = text
		if err == nil {
			s.bar = progressBar(info) + " " + text
		}
		s.mu.Unlock()
	}
}

func progressBar(info client.JobInfo) string {
	filled := 0
	if info.Total > 0 {
		filled = int(uint64(info.Counts.Final()) * barWidth / uint64(info.Total))
	}
	return "[" + strings.Repeat("#", filled) + strings.Repeat(".", barWidth-filled) + "]"
}

// startText is when a job starts, and how long that is from now.
func startText(at time.Time) string {
	return fmt.Sprintf("at %s, in %s", at.Local().Format(time.RFC3339), short(time.Until(at)))
}

// sayWaits says what a new job waits for, except for its turn.
func (a *app) sayWaits(job *client.Job) {
	if at := job.StartsAt(); at.After(time.Now()) {
		a.say("rota: job %d starts %s", job.ID(), startText(at))
	}
	if missing := job.Missing(); len(missing) > 0 {
		a.say("rota: job %d waits: %s", job.ID(), strings.Join(missing, "; "))
	}
}

func progressText(info client.JobInfo) string {
	c := info.Counts
	text := fmt.Sprintf("job %d: %d of %d tasks done", info.ID, c.Final(), info.Total)
	if n := c.Held(); n > 0 {
		text += fmt.Sprintf(", %d assigned", n)
	}
	if n := c[task.Failed]; n > 0 {
		text += fmt.Sprintf(", %d failed", n)
	}
	if n := c[task.Cancelled]; n > 0 {
		text += fmt.Sprintf(", %d cancelled", n)
	}
	if info.Open {
		text += ", more to come"
	}
	if info.StartsAt.After(time.Now()) {
		text += ", starts " + startText(info.StartsAt)
	}
	if len(info.Missing) > 0 {
		text += ", waits: " + strings.Join(info.Missing, "; ")
	}
	return text
}
