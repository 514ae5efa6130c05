package main

import (
	"context"
	"io"
	"time"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

const (
	// liveAfter is how long to wait for a result before the log is read: most commands are faster than that.
	liveAfter = 300 * time.Millisecond
	// liveRest is how long to wait for the rest of a log whose result lacks a part of it.
	liveRest = 5 * time.Second
)

// live prints the output of the task whose result is next, as it comes. What it has printed is taken off the result. So
// the same bytes are printed in the same order as without it, only sooner.
type live struct {
	s   *screen
	job *client.Job
	// stop ends the goroutine that reads the log, and done is closed when it has ended.
	stop context.CancelFunc
	done chan struct{}

	// token is the attempt that was printed, and so many bytes of its streams. unended: a line of its standard error has
	// no end. The goroutine has them until it has ended.
	token       uint64
	out, stderr uint64
	unended     bool
}

// begin waits for the result of a task.
func (l *live) begin(ctx context.Context, index uint32) {
	ctx, l.stop = context.WithCancel(ctx)
	l.done, l.token, l.out, l.stderr, l.unended = make(chan struct{}), 0, 0, 0, false
	go func() {
		defer close(l.done)
		timer := time.NewTimer(liveAfter)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		// Without the log there is the result.
		for c, err := range l.job.Logs(ctx, client.LogOptions{Task: &index, Follow: true}) {
			if err != nil || l.show(&c) != nil {
				return
			}
		}
	}()
}

// show prints a piece of the log.
func (l *live) show(c *client.LogChunk) error {
	if c.Event != 0 {
		return nil
	}
	if l.token != c.Token {
		if l.out+l.stderr > 0 {
			l.s.say("rota: task %v runs again, as attempt %d: its output begins anew", c.Task, c.Attempt)
		}
		l.token, l.out, l.stderr = c.Token, 0, 0
	}
	if c.Missing > 0 {
		l.s.say("rota: here %s of the output of task %v are missing", bytesText(c.Missing), c.Task)
	}
	if c.Stream == client.StderrStream {
		l.stderr += c.Missing + uint64(len(c.Data))
		if len(c.Data) > 0 {
			l.unended = c.Data[len(c.Data)-1] != '\n'
			l.s.passPiece(c.Data)
		}
		return nil
	}
	l.out += c.Missing + uint64(len(c.Data))
	return l.s.data(func(w io.Writer) error {
		_, err := w.Write(c.Data)
		return err
	})
}

// end takes what was printed off the result of the task.
func (l *live) end(r *client.Result) {
	gap := uint64(r.OutputHead) + r.OutputMissing // where the part behind the gap begins
	if r.OutputMissing > 0 {
		// The log may have what the result lacks.
		timer := time.NewTimer(liveRest)
		defer timer.Stop()
		select {
		case <-l.done:
		case <-timer.C:
		}
	}
	l.close()
	if l.unended {
		l.s.passPiece([]byte("\n"))
	}
	if l.token != r.Token || l.out+l.stderr == 0 {
		if l.out+l.stderr > 0 {
			l.s.say("rota: task %v has run again: its output begins anew", task.ID{Job: l.job.ID(), Index: r.Index})
		}
		return
	}
	r.Stderr = r.Stderr[min(uint64(len(r.Stderr)), l.stderr-min(l.stderr, r.StderrMissing)):]
	switch {
	case r.OutputMissing == 0:
		r.Output = r.Output[min(uint64(len(r.Output)), l.out):]
	case l.out >= gap:
		r.Output = r.Output[min(uint64(len(r.Output)), uint64(r.OutputHead)+l.out-gap):]
		r.OutputMissing, r.OutputHead = 0, 0
	default:
		from := min(l.out, uint64(r.OutputHead))
		r.OutputMissing = gap - max(l.out, uint64(r.OutputHead))
		r.Output, r.OutputHead = r.Output[from:], r.OutputHead-int(from)
	}
}

// close ends the reading of the log.
func (l *live) close() {
	if l.stop != nil {
		l.stop()
		<-l.done
	}
}
