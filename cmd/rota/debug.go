package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/client"
)

const (
	// bundleTimeout bounds the making of a bundle: a cluster that needs one may answer slowly.
	bundleTimeout = 60 * time.Second
	// itemTimeout bounds each question of it. A server that stands still must not take the time of all others.
	itemTimeout = 10 * time.Second
	// maxBundleItem bounds each file of a bundle, bytes. What is longer is cut, and says so.
	maxBundleItem = 16 << 20
	// bundleJobs and bundleEvents are how many of the newest jobs and events a bundle has.
	bundleJobs, bundleEvents = 500, 10_000
)

const bundleReadme = `What rota debug bundle has gathered of a cluster.

status.json     the servers, as one of them sees them
workers.json    the workers with open sessions
jobs.json       the newest jobs: ids, queues, states, counts and times
events.json     the newest events
servers/ID/     of each server: its metrics, why it is ready or not and, where it serves profiles, the stacks of all goroutines
errors.txt      what could not be gathered

Nothing in here is what users have put in: no payloads, outputs, standard errors, commands, environments, working directories, meta, request
keys, or names of jobs. Names of queues, workers and labels, and addresses of servers, are in here.
`

func (a *app) debugCmd() *cobra.Command {
	var out string
	bundle := &cobra.Command{
		Use: "bundle", Short: "Gather what somebody needs to find out what is wrong with a cluster",
		Long: "Writes an archive (tar.gz) with the status, the metrics and the readiness of all servers, and with\n" +
			"workers, jobs and events, also if some servers do not answer. It has no payloads, outputs,\n" +
			"commands, environments or names of jobs; its README says what it has.",
		Example: "  rota debug bundle\n  rota debug bundle --out bundle.tar.gz",
		Args:    wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				out = "rota-" + time.Now().UTC().Format("20060102-150405") + ".tar.gz"
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error { return a.bundle(ctx, c, out) })
		},
	}
	bundle.Flags().StringVar(&out, "out", "", "file to write, which must not be there (default rota-TIME.tar.gz)")
	cmd := group("debug", "Find out what is wrong", bundle)
	a.clientFlags(cmd)
	return cmd
}

// bundle gathers everything, then writes it. What fails is noted in the bundle, and only if nothing at all could be gathered is that an error.
func (a *app) bundle(ctx context.Context, c *client.Client, out string) error {
	ctx, cancel := context.WithTimeout(ctx, bundleTimeout)
	defer cancel()
	pages, err := a.newPages()
	if err != nil {
		return err
	}
	b := newBundle()
	info := a.bundleCluster(ctx, c, b)
	for _, s := range info.Servers {
		if s.HTTPAddr == "" {
			b.failed(s.ID, errors.New("its HTTP address is not known"))
			continue
		}
		for _, page := range []struct{ name, path string }{
			{"metrics.txt", "/metrics"}, {"readyz.txt", "/readyz?verbose"}, {"stacks.txt", "/debug/pprof/goroutine?debug=1"},
		} {
			text, err := pages.fetch(ctx, s.HTTPAddr, page.path)
			b.add(path.Join("servers", fileName(s.ID), page.name), text, err)
		}
	}
	if len(b.files) == 0 {
		return fmt.Errorf("nothing could be gathered: %w", errors.Join(b.errs...))
	}
	if err := b.write(out); err != nil {
		return err
	}
	if n := len(b.errs); n > 0 {
		a.say("rota: %s could not be gathered: see errors.txt in the bundle", plural(n, "item"))
	}
	return a.print("%s\n", out)
}

// bundleCluster gathers what any server tells of the cluster.
func (a *app) bundleCluster(ctx context.Context, c *client.Client, b *bundle) client.ClusterInfo {
	ask := func(name string, f func(ctx context.Context) (v any, n int, err error)) {
		ctx, cancel := context.WithTimeout(ctx, itemTimeout)
		defer cancel()
		v, n, err := f(ctx)
		b.addJSON(name, v, n, err)
	}
	var info client.ClusterInfo
	ask("status.json", func(ctx context.Context) (_ any, _ int, err error) {
		info, err = c.Status(ctx)
		return statusJSON(info), 0, err
	})
	ask("workers.json", func(ctx context.Context) (any, int, error) {
		workers, err := c.Workers(ctx, client.WorkersOptions{})
		out := []jsonv1.Worker{}
		for _, w := range workers {
			out = append(out, workerJSON(w))
		}
		return out, len(out), err
	})
	ask("jobs.json", func(ctx context.Context) (any, int, error) {
		out := []jsonv1.Job{}
		for j, err := range c.List(ctx, client.ListOptions{Stale: true}) {
			if err != nil || len(out) == bundleJobs {
				return out, len(out), err
			}
			out = append(out, withoutInput(jobJSON(j)))
		}
		return out, len(out), nil
	})
	ask("events.json", func(ctx context.Context) (any, int, error) {
		out := []jsonv1.Event{}
		for e, err := range c.Events(ctx, client.EventsOptions{Newest: bundleEvents}) {
			if err != nil {
				return out, len(out), err
			}
			one := eventJSON(&e)
			one.Name = ""
			out = append(out, one)
		}
		return out, len(out), nil
	})
	return info
}

// withoutInput is a job without anything that users have put in, apart from numbers and the name of its queue. What it has is named here, so that
// a new field does not get into bundles by itself.
func withoutInput(j jsonv1.Job) jsonv1.Job {
	return jsonv1.Job{
		ID: j.ID, Queue: j.Queue, State: j.State, Reason: j.Reason, Tasks: j.Tasks, Execution: j.Execution, Alloc: j.Alloc, MaxParallel: j.MaxParallel,
		Priority: j.Priority, MaxAttempts: j.MaxAttempts, TimeoutMS: j.TimeoutMS, RetentionMS: j.RetentionMS, SubmittedAt: j.SubmittedAt,
		StartedAt: j.StartedAt, FinishedAt: j.FinishedAt, StartsAt: j.StartsAt, RetryOf: j.RetryOf, Open: j.Open, Cancelling: j.Cancelling,
		AppliedIndex: j.AppliedIndex, Stale: j.Stale,
	}
}

// pages reads pages of the HTTP ports of servers.
type pages struct {
	scheme string
	client *http.Client
}

func (a *app) newPages() (pages, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	files, err := a.tls.open(nil)
	if err != nil || files == nil {
		return pages{"http://", &http.Client{Transport: transport}}, err
	}
	transport.TLSClientConfig = files.Client("http/1.1")
	return pages{"https://", &http.Client{Transport: transport}}, nil
}

// fetch reads a page of a server. A server that is not ready says why with a status of its own.
func (p pages) fetch(ctx context.Context, addr, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, itemTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.scheme+addr+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxBundleItem+1))
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable:
		return nil, fmt.Errorf("%s: %s", req.URL, resp.Status)
	}
	return text, nil
}

// fileName is a node id as the name of a folder.
func fileName(id string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, id)
}
