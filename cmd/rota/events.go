package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// defaultTail is how many of the newest events to print before what happens.
const defaultTail = 100

// eventFlags are the flags of events.
type eventFlags struct {
	follow        bool
	tail          uint32
	cursor, queue string
	job           uint64
	kinds         []string
}

func (a *app) eventsCmd() *cobra.Command {
	var e eventFlags
	cmd := &cobra.Command{
		Use: "events", Short: "Show what has happened in the cluster, and what happens",
		Long: "Shows submits, cancels and ends of jobs, workers that come and go, and changes of servers.\n" +
			"With -f it goes on with what happens, until it is interrupted.\n\n" +
			"Every server has the same events. After a failover the command goes on at another server,\n" +
			"without a gap. Servers keep the newest events only: where some are missing, a line says so.\n\n" +
			"JSON has a cursor with each event. With --cursor the command goes on behind that event.",
		Example: "  rota events --tail 20\n  rota events --kind job.ended,session.closed --queue reports -o jsonl",
		Args:    wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts, err := e.options()
			if err != nil {
				return err
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error { return a.events(ctx, c, opts) })
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&e.follow, "follow", "f", false, "go on with what happens")
	f.Uint32Var(&e.tail, "tail", defaultTail, "begin with so many of the newest events that the server has")
	f.StringVar(&e.cursor, "cursor", "", "go on behind the event with this cursor")
	f.StringSliceVar(&e.kinds, "kind", nil, "only these kinds: "+strings.Join(task.EventKinds(), ", "))
	f.StringVar(&e.queue, "queue", "", "only events about jobs of this queue")
	f.Uint64Var(&e.job, "job", 0, "only events about this job")
	a.clientFlags(cmd)
	return cmd
}

func (e *eventFlags) options() (client.EventsOptions, error) {
	opts := client.EventsOptions{Newest: e.tail, Follow: e.follow, Queue: e.queue, Job: e.job}
	for _, name := range e.kinds {
		kind, ok := task.ParseEventKind(name)
		if !ok {
			return opts, usagef("unknown --kind %q: use %s", name, strings.Join(task.EventKinds(), ", "))
		}
		opts.Kinds = append(opts.Kinds, kind)
	}
	var err error
	if opts.Cursor, err = base64.RawURLEncoding.DecodeString(e.cursor); err != nil {
		return opts, usagef("--cursor %q is no cursor: use one that rota events -o json has printed", e.cursor)
	}
	return opts, nil
}

func (a *app) events(ctx context.Context, c *client.Client, opts client.EventsOptions) error {
	list := a.newJSONList(a.out)
	for e, err := range c.Events(ctx, opts) {
		switch {
		case err != nil && errors.Is(context.Cause(ctx), errInterrupted):
			// Whoever follows ends it like this, so it is no failure.
		case err != nil:
			return err
		case a.format == formatTable:
			err = a.print("%s\n", eventLine(&e))
		default:
			err = list.add(eventJSON(&e))
		}
		if err != nil && !errors.Is(context.Cause(ctx), errInterrupted) {
			return err
		}
	}
	if a.format == formatTable {
		return nil
	}
	return list.end()
}

// eventLine is an event in words.
func eventLine(e *client.Event) string {
	at := "-"
	if !e.At.IsZero() {
		at = e.At.Local().Format(time.DateTime + ".000")
	}
	return strings.TrimRight(fmt.Sprintf("%-23s  %-16s  %s", at, e.Kind, eventText(e)), " ")
}

func eventText(e *client.Event) string {
	switch e.Kind {
	case task.EventSubmitted:
		text := jobsText(e)
		if e.RetryOf != 0 {
			text += fmt.Sprintf(", a retry of job %d", e.RetryOf)
		}
		return text
	case task.EventCancelling:
		if e.Task != nil {
			return fmt.Sprintf("task %d.%d, by %s", e.Job, *e.Task, e.Reason)
		}
		return fmt.Sprintf("%s, by %s", jobsText(e), e.Reason)
	case task.EventEnded:
		text := fmt.Sprintf("%s: %s", jobsText(e), e.State)
		if e.Reason != task.NoReason {
			text += fmt.Sprintf(" (%s)", e.Reason)
		}
		return text
	case task.EventSessionOpened:
		return fmt.Sprintf("worker %s, session %d", workerText(e), e.Session)
	case task.EventSessionClosed:
		how := "was lost"
		if e.Graceful {
			how = "has ended"
		}
		return fmt.Sprintf("worker %s, session %d, %s and held %s", workerText(e), e.Session, how, plural(int(e.Tasks), "task"))
	case task.EventServerRecorded, task.EventServerForgotten:
		return fmt.Sprintf("server %s at %s", e.Server, e.Addr)
	case task.EventVersion:
		return fmt.Sprintf("log version %d", e.Version)
	case task.EventMore:
		return fmt.Sprintf("%d more events happened at once and are not kept", e.Count)
	case task.EventLost:
		return fmt.Sprintf("events up to log index %d are missing: this server does not have them any more", e.Index)
	default:
		return fmt.Sprintf("an event at log index %d that this build does not know", e.Index)
	}
}

// jobsText says which jobs an event is about.
func jobsText(e *client.Event) string {
	text := fmt.Sprintf("job %d", e.Job)
	if e.Jobs > 1 {
		text = fmt.Sprintf("jobs %d to %d", e.Job, e.Job+uint64(e.Jobs)-1)
	}
	if e.Name != "" {
		text += fmt.Sprintf(" %q", e.Name)
	}
	return fmt.Sprintf("%s in queue %s, %s", text, e.Queue, plural(int(e.Tasks), "task"))
}

func workerText(e *client.Event) string {
	if e.WorkerName != "" {
		return e.WorkerName
	}
	return e.WorkerID
}

func eventJSON(e *client.Event) jsonv1.Event {
	out := jsonv1.Event{
		Kind: e.Kind.String(), HappenedAt: jsonv1.Time(e.At), Index: e.Index, Cursor: base64.RawURLEncoding.EncodeToString(e.Cursor()),
		Job: e.Job, Jobs: e.Jobs, Tasks: e.Tasks, Task: e.Task, RetryOf: e.RetryOf, Name: e.Name, Queue: e.Queue, Reason: e.Reason.String(),
		Session: e.Session, Worker: e.WorkerID, WorkerName: e.WorkerName, Graceful: e.Graceful, Server: e.Server, Addr: e.Addr,
		Version: e.Version, Count: e.Count,
	}
	if e.State != 0 {
		out.State = e.State.String()
	}
	return out
}
