package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

func (a *app) workerCmd() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List the workers", Args: wantArgs(),
		Example: "  rota worker list\n  rota worker list -o jsonl",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(cmd.Context(), a.listWorkers)
		},
	}
	get := &cobra.Command{
		Use: "get NAME|ID", ValidArgsFunction: a.workerNames(), Short: "Show one worker and what it runs", Args: wantArgs("a worker's name or id"),
		Example: "  rota worker get w1",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				return a.getWorker(ctx, c, args[0])
			})
		},
	}
	cmd := group("worker", "Start and look at workers", a.workerStartCmd(), list, get)
	a.clientFlags(cmd)
	return cmd
}

func (a *app) listWorkers(ctx context.Context, c *client.Client) error {
	ctx, cancel := a.request(ctx)
	defer cancel()
	workers, err := c.Workers(ctx, client.WorkersOptions{})
	if err != nil {
		return err
	}
	slices.SortFunc(workers, func(x, y client.WorkerInfo) int {
		return strings.Compare(x.Name+"\x00"+x.ID, y.Name+"\x00"+y.ID)
	})
	if a.format != formatTable {
		list := a.newJSONList(a.out)
		for _, w := range workers {
			if err := list.add(workerJSON(w)); err != nil {
				return err
			}
		}
		return list.end()
	}
	t := a.newTable("NAME", "ID", "STATE", "SLOTS", "ASSIGNED", "RUNNING", "QUEUES", "LABELS", "LAST BEAT", "VERSION", "HEALTH")
	for _, w := range workers {
		t.row(w.Name, w.ID, workerState(w), count(w.Slots), count(w.Assigned), count(w.Running), queuesOf(w), labelsOf(w.Labels),
			short(w.LastBeat)+" ago", w.Version, workerHealth(w))
	}
	return t.end()
}

func (a *app) getWorker(ctx context.Context, c *client.Client, name string) error {
	ctx, cancel := a.request(ctx)
	defer cancel()
	workers, err := c.Workers(ctx, client.WorkersOptions{Worker: name})
	if err != nil {
		return err
	}
	switch len(workers) {
	case 0:
		return task.Errorf(task.KindNotFound, "there is no worker %q with an open session (see rota worker list)", name)
	case 1:
	default:
		return task.Errorf(task.KindConflict, "%d workers have the name %q: give the id of one (see rota worker list)", len(workers), name)
	}
	w := workers[0]
	if a.format != formatTable {
		return a.printOne(workerJSON(w))
	}
	fields := [][2]string{
		{"Name", w.Name}, {"Id", w.ID}, {"State", workerState(w)}, {"Health", workerHealth(w)},
		{"Slots", fmt.Sprintf("%d, %d assigned, %d running", w.Slots, w.Assigned, w.Running)},
		{"Queues", queuesOf(w)}, {"Labels", labelsOf(w.Labels)}, {"Commands", strconv.FormatBool(w.Commands)},
		{"Handlers", strings.Join(w.Handlers, ", ")}, {"Session", strconv.FormatUint(w.SessionID, 10)},
		{"Opened", ago(w.OpenedAt)}, {"Last beat", short(w.LastBeat) + " ago"}, {"Version", w.Version},
	}
	for _, t := range w.Tasks {
		fields = append(fields, [2]string{"Runs", fmt.Sprintf("%s for %s", t.ID, short(t.RunTime))})
	}
	return a.fields(fields...)
}

func workerState(w client.WorkerInfo) string {
	switch {
	case !w.Connected:
		return "silent"
	case w.Draining:
		return "draining"
	case w.Unhealthy != "":
		return "unhealthy"
	}
	return "connected"
}

func workerHealth(w client.WorkerInfo) string {
	if w.Unhealthy == "" {
		return "ok"
	}
	return w.Unhealthy
}

func queuesOf(w client.WorkerInfo) string {
	if len(w.Queues) == 0 {
		return "all"
	}
	return strings.Join(w.Queues, ",")
}

func labelsOf(labels map[string]string) string {
	var pairs []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, k+"="+labels[k])
	}
	return strings.Join(pairs, ",")
}

func count(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
