package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
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
	// abandonTimeout bounds the attempt to cancel a job that will never be whole.
	abandonTimeout = 5 * time.Second
)

// errNoAnswer ends a submit whose request got no answer.
var errNoAnswer = errors.New("no answer from the servers")

func (a *app) mapCmd() *cobra.Command {
	var s specFlags
	cmd := &cobra.Command{
		Use:   "map [flags] -- COMMAND ARG... {}",
		Short: "Run a command for each line of standard input, print the results in order",
		Long: "Makes a job with a task for each line of standard input. The line takes the place\n" +
			"of {} in the arguments; without {} it is the command's standard input. Outputs of\n" +
			"commands are printed byte for byte, those of handlers a line each, in the order of\n" +
			"the input or as tasks complete.\n\n" +
			"A task that fails is explained on standard error, the others are still printed,\n" +
			"and the exit code is 3.",
		Example: "  find . -name '*.go' | rota map --cwd . -- wc -l {}\n  seq 1000 | rota map --handler rota.square --as-completed",
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
			if err := check(spec, s.key); err != nil {
				return err
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				return a.mapLines(ctx, c, spec, &s)
			})
		},
	}
	s.add(cmd.Flags(), true, task.DefaultAttempts-1)
	a.clientFlags(cmd)
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func (a *app) mapLines(ctx context.Context, c *client.Client, spec task.Spec, s *specFlags) error {
	if a.inTTY {
		a.say("rota: reading a task from each line; end with Ctrl-D")
	}
	job, err := a.submitLines(ctx, c, spec, s.key)
	if err != nil || job == nil {
		return err
	}
	t, err := a.collect(ctx, collection{job: job, raw: true, lines: s.handler != "", asCompleted: s.asCompleted, timeout: s.waitTimeout})
	if err != nil {
		return err
	}
	return t.err(job.ID())
}

// submitLines makes a job of the lines of standard input; nil where there is none.
func (a *app) submitLines(ctx context.Context, c *client.Client, spec task.Spec, key string) (*client.Job, error) {
	submit, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Lines may be long in coming, but requests must not: the clock runs only while
	// the SDK is busy.
	clock := time.AfterFunc(a.requestTimeout, func() { cancel(errNoAnswer) })
	defer clock.Stop()
	lines := readLines(submit, a.in)
	count := 0
	var bad error
	payloads := func(yield func([]byte) bool) {
		for {
			clock.Stop()
			line, err := lines.next(submit)
			clock.Reset(a.requestTimeout)
			if err != nil {
				if !errors.Is(err, io.EOF) {
					// The job must not be completed without what could not be read.
					bad = err
					cancel(err)
				}
				return
			}
			count++
			if !yield(line) {
				return
			}
		}
	}
	job, err := c.Submit(submit, client.Request{Spec: spec, Payloads: iter.Seq[[]byte](payloads), Key: key})
	switch {
	case err == nil:
		return job, nil
	case job != nil:
		a.abandon(ctx, job, key)
	case count == 0 && bad == nil:
		return nil, nil
	}
	if bad != nil && ctx.Err() == nil {
		return nil, bad
	}
	return nil, err
}

// abandon does what can be done about a job that got only part of its tasks.
func (a *app) abandon(ctx context.Context, job *client.Job, key string) {
	if key != "" {
		a.say("rota: job %d has only part of its tasks: the same command with the same input and --key completes it", job.ID())
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTimeout)
	defer cancel()
	if _, err := job.Cancel(ctx); err != nil && !errors.Is(err, task.ErrNotFound) {
		a.say("rota: job %d has only part of its tasks and could not be cancelled: the servers do so after %v", job.ID(), task.OpenTimeout)
		return
	}
	a.say("rota: job %d had only part of its tasks and was cancelled", job.ID())
}

// lineReader reads lines ahead, so that waiting for them can be interrupted.
type lineReader struct {
	lines chan []byte
	// err is why lines was closed; io.EOF at the end of the input.
	err error
}

func readLines(ctx context.Context, in io.Reader) *lineReader {
	r := &lineReader{lines: make(chan []byte, linesAhead)}
	go func() {
		defer close(r.lines)
		buffered := bufio.NewReaderSize(in, 64<<10)
		for number := 1; ; number++ {
			line, err := readLine(buffered, number)
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

// readLine returns the next line without its end. The last one may have none.
func readLine(in *bufio.Reader, number int) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if n := len(line); n > 0 && line[n-1] == '\n' {
			line = line[:n-1]
		}
		switch {
		case len(line) > task.MaxPayload:
			return nil, fmt.Errorf("line %d of standard input has more than %d bytes, the limit; put larger data where tasks can read it", number, task.MaxPayload)
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
