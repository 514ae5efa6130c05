package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

const (
	// placeholder is replaced by the line in the arguments of map's command.
	placeholder = "{}"
	// linesAhead is how many lines are read before they are wanted.
	linesAhead = 256
	// lineLinger is how long a line waits for others, so that they share a request.
	lineLinger = 50 * time.Millisecond
	// abandonTimeout bounds the attempt to cancel a job that will never have all of its tasks.
	abandonTimeout = 5 * time.Second
)

func (a *app) mapCmd() *cobra.Command {
	var s specFlags
	d := delimiter{end: '\n', item: "line"}
	var null bool
	cmd := &cobra.Command{
		Use:   "map [flags] -- COMMAND ARG... {}",
		Short: "Run a command for each line of standard input, print the results in order",
		Long: "Makes a job with a task for each line of standard input, and starts the tasks as the\n" +
			"lines arrive. The line replaces {} in the arguments; without {} it is the standard input\n" +
			"of the command. Map prints the outputs of commands byte for byte and those of handlers a\n" +
			"line each, in the order of the input or as tasks complete. For names that may contain\n" +
			"newlines, use --null with find -print0.\n\n" +
			"If an output has more than 256 KiB, Rota keeps the first and the last 128 KiB; --stdout\n" +
			"changes that, as in --stdout 'file:/data/{task}.out'. Of standard error it keeps the last\n" +
			"64 KiB.\n\n" +
			"If a task fails, map says why on standard error, prints the others, and ends with exit\n" +
			"code 3. If nobody reads the results any more, as with | head, it cancels the job, unless\n" +
			"the job has a --key. Ctrl-C cancels a job whose input has not ended. If the input has\n" +
			"ended, the job goes on without you, and map says how to cancel it.",
		Example: "  find . -name '*.go' | rota map --cwd . -- wc -l {}\n  find . -name '*.go' -print0 | rota map --null --cwd . -- sha256sum {}\n  seq 1000 | rota map --handler rota.square --as-completed",
		RunE: func(cmd *cobra.Command, args []string) error {
			command, err := commandOf(cmd, args, s.handler)
			if err != nil {
				return err
			}
			spec, err := s.spec(command)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(command, func(arg string) bool { return strings.Contains(arg, placeholder) }) {
				spec.Placeholder = placeholder
			}
			if err := check(spec, s.key, true); err != nil {
				return err
			}
			if null {
				d.end, d.item = 0, "item"
			}
			// A command that reads the line from its standard input gets it with its line end.
			d.keep = s.handler == "" && spec.Placeholder == ""
			return a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				return a.mapLines(ctx, c, spec, &s, d)
			})
		},
	}
	s.add(cmd.Flags(), true, task.DefaultAttempts-1)
	cmd.Flags().BoolVarP(&null, "null", "0", false, "a NUL byte ends each item of the input instead of a newline")
	a.clientFlags(cmd)
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func (a *app) mapLines(ctx context.Context, c *client.Client, spec task.Spec, s *specFlags, d delimiter) error {
	if a.inTTY {
		a.say("rota: each %s is a task; Ctrl-D ends the input", d.item)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	lines := readLines(ctx, a.in, d)
	first, err := lines.next(ctx)
	if errors.Is(err, io.EOF) {
		return a.printNone()
	} else if err != nil {
		return err
	}
	r := client.Request{Spec: spec, Key: s.key, Explain: true}
	l := a.submitLines(ctx, stop, c, r, first, lines)
	job := l.wait()
	if job == nil {
		return a.explainConflict(context.WithoutCancel(ctx), c, r, l.err)
	}
	a.sayWaits(job)
	t, err := a.collect(ctx, collection{
		job: job, raw: true, lines: s.handler != "", asCompleted: s.asCompleted, serial: s.serial, timeout: s.waitTimeout, whole: l.done,
	})
	if err != nil {
		stop(err)
		return a.leave(ctx, l, s.key, err)
	}
	// All results are there, so all tasks are, unless somebody has cancelled the job in the meantime.
	<-l.done
	if l.err != nil && t.cancelled == 0 {
		return l.err
	}
	return t.err(job.ID())
}

// leave ends a map that cannot print all results, and returns the error that says why.
func (a *app) leave(ctx context.Context, l *lineJob, key string, err error) error {
	<-l.done
	broken := errors.Is(err, syscall.EPIPE)
	switch {
	case l.err != nil:
		a.abandon(ctx, l.job, key)
		if l.first && !broken {
			return l.err
		}
		if errors.Is(context.Cause(ctx), errInterrupted) {
			// Only a job with all of its tasks goes on.
			return errInterrupted
		}
	case broken:
		a.unread(ctx, l.job, key)
	}
	return err
}

// lineJob is a job that gets a task for each line of standard input.
type lineJob struct {
	begun chan *client.Job
	job   *client.Job
	// done is closed when the job has all of its tasks, or never will because of err.
	done chan struct{}
	err  error
	// first: err came first, and the rest ended because of it.
	first bool
}

// wait returns the job once it has an id; nil if it never gets one.
func (l *lineJob) wait() *client.Job {
	select {
	case l.job = <-l.begun:
		return l.job
	case <-l.done:
	}
	select {
	case l.job = <-l.begun:
	default:
	}
	return l.job
}

// submitLines makes a job of the lines of standard input, while the caller reads its results. If it fails, it
// calls stop, which ends that.
func (a *app) submitLines(ctx context.Context, stop context.CancelCauseFunc, c *client.Client, r client.Request, first []byte, lines *lineReader) *lineJob {
	l := &lineJob{begun: make(chan *client.Job, 1), done: make(chan struct{})}
	submit, cancel := context.WithCancel(ctx)
	// bad is why lines could not be read: the job must not be complete without them.
	var bad error
	r.Payloads = func(yield func([]byte) bool) {
		for line := first; yield(line); {
			var err error
			if line, err = lines.next(submit); err != nil {
				if !errors.Is(err, io.EOF) {
					bad = err
					cancel()
				}
				return
			}
		}
	}
	r.Linger = lineLinger
	r.Begun = func(j *client.Job) { l.begun <- j }
	go func() {
		defer cancel()
		_, l.err = c.Submit(submit, r)
		l.first = ctx.Err() == nil
		if bad != nil && l.first {
			l.err = bad
		}
		close(l.done)
		if l.err != nil {
			stop(l.err)
		}
	}()
	return l
}

// abandon cancels a job that got only part of its tasks. A job with a key stays, because it can be completed.
func (a *app) abandon(ctx context.Context, job *client.Job, key string) {
	if key != "" {
		a.say("rota: job %d has only part of its tasks: run the same command with the same input and --key to complete it", job.ID())
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTimeout)
	defer cancel()
	switch _, err := job.Cancel(ctx); {
	case errors.Is(err, task.ErrConflict), errors.Is(err, task.ErrNotFound):
		a.say("rota: job %d had only part of its tasks and is over", job.ID())
		return
	case err != nil:
		a.say("rota: job %d has only part of its tasks and could not be cancelled: the servers cancel it after %v", job.ID(), task.OpenTimeout)
		return
	}
	a.say("rota: job %d had only part of its tasks and was cancelled", job.ID())
}

// unread cancels a job whose results nobody reads any more. A job with a key goes on, because the user can ask
// for it again.
func (a *app) unread(ctx context.Context, job *client.Job, key string) {
	if key != "" {
		a.say("rota: nobody reads the results any more: job %d goes on (to cancel it: rota job cancel %d)", job.ID(), job.ID())
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTimeout)
	defer cancel()
	if _, err := job.Cancel(ctx); err != nil {
		a.say("rota: nobody reads the results any more, and job %d could not be cancelled: it goes on (to cancel it: rota job cancel %d)", job.ID(), job.ID())
		return
	}
	a.say("rota: nobody reads the results any more: job %d was cancelled", job.ID())
}

// lineReader reads lines ahead, so that waiting for them can be interrupted.
type lineReader struct {
	lines chan []byte
	// err is why lines was closed; io.EOF at the end of the input.
	err error
}

// delimiter is what ends each task's payload in the input.
type delimiter struct {
	end byte
	// keep: a payload includes the byte that ends it.
	keep bool
	// item is the users' word for one payload.
	item string
}

func readLines(ctx context.Context, in io.Reader, d delimiter) *lineReader {
	r := &lineReader{lines: make(chan []byte, linesAhead)}
	go func() {
		defer close(r.lines)
		buffered := bufio.NewReaderSize(in, 64<<10)
		for number := 1; ; number++ {
			line, err := readLine(buffered, number, d)
			if err != nil {
				r.err = err
				return
			}
			select {
			case r.lines <- line:
			case <-ctx.Done():
				r.err = ctx.Err()
				return
			}
		}
	}()
	return r
}

func (r *lineReader) next(ctx context.Context) ([]byte, error) {
	select {
	case line, ok := <-r.lines:
		if !ok {
			return nil, r.err
		}
		return line, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// readLine returns the next line, with its end if d says so. The last line may have no end.
func readLine(in *bufio.Reader, number int, d delimiter) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice(d.end)
		line = append(line, part...)
		if n := len(line); !d.keep && n > 0 && line[n-1] == d.end {
			line = line[:n-1]
		}
		switch {
		case len(line) > task.MaxPayload:
			return nil, fmt.Errorf("%s %d of standard input has more than %d bytes, which is the limit: put larger data where tasks can read it", d.item, number, task.MaxPayload)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(line) > 0, err == nil:
			return line, nil
		case errors.Is(err, io.EOF):
			return nil, io.EOF
		default:
			return nil, fmt.Errorf("read standard input: %w", err)
		}
	}
}
