package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// usedFor finds the job in the error of a server for a request key that belongs to another job.
var usedFor = regexp.MustCompile(`was used for job (\d+) with another content`)

// submit submits the job that the flags describe. Verbs have different defaults of --retries. If a job with the
// request key differs in such a default only, it is the same job, and keeps the number that it was made with.
func (a *app) submit(ctx context.Context, c *client.Client, r client.Request, s *specFlags) (*client.Job, error) {
	once := func() (*client.Job, error) {
		ctx, cancel := a.request(ctx)
		defer cancel()
		return c.Submit(ctx, r)
	}
	r.Explain = true
	job, err := once()
	if err == nil || s.flags.Changed("retries") {
		return job, a.explainConflict(ctx, c, r, err)
	}
	there := a.keyHolder(ctx, c, err)
	if there == nil || there.MaxAttempts == r.Spec.MaxAttempts {
		return nil, a.explainConflict(ctx, c, r, err)
	}
	r.Spec.MaxAttempts = there.MaxAttempts
	job, err = once()
	return job, a.explainConflict(ctx, c, r, err)
}

// keyHolder returns the spec of the job that has the request key, if err says that the key belongs to another job;
// nil: err says something else, or the job cannot be read.
func (a *app) keyHolder(ctx context.Context, c *client.Client, err error) *task.Spec {
	if !errors.Is(err, task.ErrConflict) {
		return nil
	}
	match := usedFor.FindStringSubmatch(err.Error())
	if match == nil {
		return nil
	}
	id, err := strconv.ParseUint(match[1], 10, 64)
	if err != nil {
		return nil
	}
	ctx, cancel := a.request(ctx)
	defer cancel()
	info, err := c.Job(id).Info(ctx)
	if err != nil {
		return nil
	}
	return &info.Spec
}

// explainConflict adds to the error for a request key that belongs to another job how that job differs.
func (a *app) explainConflict(ctx context.Context, c *client.Client, r client.Request, err error) error {
	there := a.keyHolder(ctx, c, err)
	if there == nil {
		return err
	}
	here := r.Spec
	here.SetDefaults()
	if differences := differ(&here, there); len(differences) > 0 {
		return fmt.Errorf("%w (it differs in %s)", err, strings.Join(differences, ", "))
	}
	return fmt.Errorf("%w (it differs in its tasks)", err)
}

// differ lists the flags in which two jobs differ, with the values of both.
func differ(here, there *task.Spec) (differences []string) {
	for _, f := range []struct {
		flag string
		of   func(s *task.Spec) string
	}{
		{"the command", func(s *task.Spec) string { return strings.Join(s.Command, " ") }},
		{"--handler", func(s *task.Spec) string { return s.Handler }},
		{"--name", func(s *task.Spec) string { return s.Name }},
		{"--alloc", func(s *task.Spec) string { return s.Policy.String() }},
		{"--serial", func(s *task.Spec) string { return strconv.FormatBool(s.Serial) }},
		{"--max-parallel", func(s *task.Spec) string { return count(s.MaxParallel) }},
		{"--priority", func(s *task.Spec) string { return strconv.Itoa(int(s.Priority)) }},
		{"--retries", func(s *task.Spec) string { return strconv.Itoa(int(s.MaxAttempts) - 1) }},
		{"--timeout", func(s *task.Spec) string { return s.Timeout.String() }},
		{"--delay", func(s *task.Spec) string { return s.Delay.String() }},
		{"--at", func(s *task.Spec) string { return atText(s.NotBefore) }},
		{"--expire", func(s *task.Spec) string { return s.Expire.String() }},
		{"--retention", func(s *task.Spec) string { return s.Retention.String() }},
		{"--require", func(s *task.Spec) string { return pairsText(s.Require) }},
		{"--env", func(s *task.Spec) string { return pairsText(s.Env) }},
		{"--cwd", func(s *task.Spec) string { return s.Cwd }},
		{"--stdout", (*task.Spec).StdoutText},
		{"--meta", func(s *task.Spec) string { return pairsText(s.Meta) }},
		{"--array", func(s *task.Spec) string { return fmt.Sprint(s.Values) }},
	} {
		if a, b := f.of(here), f.of(there); a != b {
			differences = append(differences, fmt.Sprintf("%s: %s here, %s there", f.flag, orDash(oneLine(a, 40)), orDash(oneLine(b, 40))))
		}
	}
	return differences
}

func atText(ns int64) string {
	if ns == 0 {
		return ""
	}
	return time.Unix(0, ns).UTC().Format(time.RFC3339)
}

func pairsText(pairs []task.Pair) string {
	texts := make([]string, len(pairs))
	for i, p := range pairs {
		texts[i] = p.Key + "=" + p.Value
	}
	slices.Sort(texts)
	return strings.Join(texts, ",")
}
