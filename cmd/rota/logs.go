package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// readLogFlags are the flags of job logs.
type readLogFlags struct {
	options client.LogOptions
	tail    int
	stderr  bool
}

func (a *app) jobLogsCmd() *cobra.Command {
	var f readLogFlags
	cmd := &cobra.Command{
		Use: "logs ID|ID.TASK", ValidArgsFunction: a.recentJobs(), Short: "Print what the commands of a job print",
		Long: "Prints what the command of a task has printed: its standard output to standard output, and\n" +
			"its standard error to standard error. With --follow it goes on as the command does, and with\n" +
			"the next attempts, until the task has ended. The task need not have started. 42.7 is the task\n" +
			"with index 7 of job 42, last the newest job.\n\n" +
			"If a job has several tasks, each line begins with the name of its task. Without --follow, the\n" +
			"tasks come one after the other; with --follow, up to 32 at once.\n\n" +
			"The worker keeps the last 16 MiB of each attempt for some time (see rota worker start --help).\n" +
			"After that, there is what stays with the result. Where something is missing, a line on\n" +
			"standard error says how much.",
		Example: "  rota job logs 42\n  rota job logs -f last\n  rota job logs 42.7 --attempt 1 --stderr\n  rota job logs 42.7 --tail 20 --since 10m",
		Args:    wantArgs("a job or task id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.parse(cmd); err != nil {
				return err
			}
			s, err := parseJobs(args, true, nil)
			if err != nil {
				return err
			}
			if !s.single() {
				return usagef("the log of one job or task at a time: name one")
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error { return a.logs(ctx, c, &s, &f) })
		},
	}
	fs := cmd.Flags()
	fs.BoolVarP(&f.options.Follow, "follow", "f", false, "wait for more, until all tasks have ended")
	fs.Uint32Var(&f.options.Attempt, "attempt", 0, "only this attempt, from 1 on; 0: the newest one, and with --follow those after it")
	fs.DurationVar(&f.options.Since, "since", 0, "only what is not older, such as 10m; 0: all")
	fs.IntVar(&f.tail, "tail", -1, "only so many lines of each task, of what there is; -1: all")
	fs.BoolVar(&f.stderr, "stderr", false, "only the standard error, and that to standard output")
	return cmd
}

func (f *readLogFlags) parse(cmd *cobra.Command) error {
	switch {
	case f.options.Since < 0:
		return usagef("--since %v is negative", f.options.Since)
	case f.tail > wire.MaxLogTail:
		return usagef("--tail %d is more than %d lines: leave it out for all of them", f.tail, wire.MaxLogTail)
	case f.tail < -1, f.tail < 0 && cmd.Flags().Changed("tail") && f.tail != -1:
		return usagef("--tail %d is negative", f.tail)
	}
	if f.tail >= 0 {
		lines := uint32(f.tail)
		f.options.Tail = &lines
	}
	if f.stderr {
		f.options.Stream = client.StderrStream
	}
	return nil
}

// logs prints the logs of what the arguments name.
func (a *app) logs(ctx context.Context, c *client.Client, s *selection, f *readLogFlags) error {
	names, err := s.find(ctx, c)
	if err != nil {
		return err
	}
	n, job := names[0], c.Job(names[0].Job)
	info, err := a.infoOf(ctx, job)
	if err != nil {
		return err
	}
	p := &logPrinter{a: a, job: n.Job, follow: f.options.Follow, stderr: f.stderr}
	if n.isTask {
		f.options.Task = &n.Index
	} else if p.several = info.Total > 1 || info.Open; !p.several {
		f.options.Task = new(uint32)
	}
	if to := info.Spec.StdoutText(); info.Spec.Stdout == task.StdoutFile || info.Spec.Stdout == task.StdoutDiscard {
		a.say("rota: the standard output of job %d is not kept: --stdout %s", n.Job, to)
	}
	if a.format != formatTable {
		p.list = a.newJSONList(a.out)
	}
	if p.several || p.list != nil {
		p.lines = newLogLines(p.line)
	}
	defer noticeBrokenPipes()()
	for chunk, err := range job.Logs(ctx, f.options) {
		if err == nil {
			err = p.add(&chunk)
		}
		if err != nil {
			return errors.Join(err, p.close())
		}
	}
	return p.close()
}

// logPrinter prints logs.
type logPrinter struct {
	a   *app
	job uint64
	// follow and stderr are the flags. several: lines of more than one task are printed.
	follow, stderr, several bool
	// lines makes lines of what comes; nil: it is printed as it comes.
	lines *logLines
	// list prints lines as JSON; nil: they are for people.
	list *jsonList
}

// add prints a piece of a log, or what has happened.
func (p *logPrinter) add(c *client.LogChunk) error {
	if c.Event != 0 {
		return p.event(c)
	}
	if c.Missing > 0 && p.list == nil {
		p.a.say("rota: here %s of the output of task %v are missing", bytesText(c.Missing), c.Task)
	}
	switch {
	case p.lines == nil:
		return p.write(c.Stream, c.Data)
	case c.Missing > 0 && len(c.Data) == 0 && p.list != nil:
		return p.list.add(p.json(c))
	}
	return p.lines.add(c)
}

func (p *logPrinter) write(stream client.LogStream, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	to := p.a.out
	if stream == client.StderrStream && !p.stderr {
		to = p.a.err
	}
	_, err := to.Write(data)
	return err
}

// line prints a line.
func (p *logPrinter) line(l *logLine) error {
	if p.list == nil {
		return p.write(l.part.Stream, append([]byte(l.part.Task.String()+" | "), append(l.text, '\n')...))
	}
	out := p.json(&l.part)
	out.SetText(l.text)
	out.Partial = l.partial
	return p.list.add(out)
}

// event tells of something that has happened.
func (p *logPrinter) event(c *client.LogChunk) error {
	if p.lines != nil {
		if err := p.lines.ended(c.Task); err != nil {
			return err
		}
	}
	switch {
	case p.list != nil:
		return p.list.add(p.json(c))
	case c.Event == client.LogWaiting && !p.several:
		p.a.say("rota: task %v has not started%s", c.Task, map[bool]string{true: " yet"}[p.follow])
	case c.Event == client.LogSilent:
		p.a.say("rota: worker %s sends no log: %s%s", c.Worker, c.Note, map[bool]string{true: "; still trying"}[p.follow])
	case c.Event == client.LogEnded && c.Ended != nil && c.Ended.State != task.Succeeded && p.follow:
		p.sayEnded(c)
	}
	return nil
}

// sayEnded says how an attempt has ended that was no success.
func (p *logPrinter) sayEnded(c *client.LogChunk) {
	text := attemptText(c.Ended)
	if text != "" {
		text = ": " + oneLine(text, 200)
	}
	if c.Ended.State == 0 {
		p.a.say("rota: attempt %d of task %v has ended, and the task is tried again%s", c.Attempt, c.Task, text)
		return
	}
	p.a.say("rota: task %v %v%s", c.Task, c.Ended.State, text)
}

// The names of streams and events in JSON.
var (
	logStreamNames = map[client.LogStream]string{client.StdoutStream: "stdout", client.StderrStream: "stderr"}
	logEventNames  = map[client.LogEvent]string{client.LogWaiting: "waiting", client.LogSilent: "silent", client.LogEnded: "ended"}
)

func (p *logPrinter) json(c *client.LogChunk) *jsonv1.Log {
	out := &jsonv1.Log{
		Job: p.job, Task: c.Task.Index, Attempt: c.Attempt, Token: c.Token, Worker: c.Worker, Stream: logStreamNames[c.Stream],
		ReadAt: jsonv1.Time(c.At), Missing: c.Missing, Event: logEventNames[c.Event], Note: c.Note,
	}
	if c.Ended != nil {
		ended := attemptJSON(c.Ended)
		out.Ended = &ended
	}
	return out
}

// close prints what waits.
func (p *logPrinter) close() error {
	if p.lines == nil {
		return nil
	}
	if err := p.lines.close(); err != nil || p.list == nil {
		return err
	}
	return p.list.end()
}
