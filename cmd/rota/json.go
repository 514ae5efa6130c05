package main

import (
	"encoding/base64"
	"fmt"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// What is printed as JSON is defined by package jsonv1. These functions copy into its types what the SDK returns.

func jobJSON(j client.JobInfo) jsonv1.Job {
	counts := jsonv1.CountsOf(j.Total, &j.Counts)
	counts.Running, counts.Retrying = j.Running, j.Retrying
	out := jsonv1.Job{
		ID: j.ID, State: j.State.String(), Reason: j.Reason.String(), Tasks: counts,
		SubmittedAt: jsonv1.Time(j.SubmittedAt), StartedAt: jsonv1.Time(j.StartedAt), FinishedAt: jsonv1.Time(j.FinishedAt),
		StartsAt: jsonv1.Time(j.StartsAt), RetryOf: j.RetryOf, Missing: j.Missing, Key: j.Key, Open: j.Open, Cancelling: j.Cancelling,
		AppliedIndex: j.AppliedIndex, Stale: j.Stale,
	}
	out.SetSpec(&j.Spec)
	if x := j.LastFailure; x != nil {
		out.LastFailure = &jsonv1.Failure{Task: x.Index, TaskAttempt: attemptJSON(x)}
	}
	return out
}

func attemptJSON(x *client.AttemptInfo) jsonv1.TaskAttempt {
	out := jsonv1.TaskAttempt{
		Attempt: x.Attempt, Reason: x.Reason.String(), Worker: x.Worker, Token: x.Token, ExitCode: x.ExitCode, Error: x.Error,
		Stderr: task.Legible(string(x.Stderr)), StderrMissing: x.StderrMissing, GrantedAt: jsonv1.Time(x.GrantedAt), EndedAt: jsonv1.Time(x.EndedAt), Usage: jsonv1.UsageOf(x.Usage),
	}
	if x.State != 0 {
		out.State = x.State.String()
	}
	return out
}

// taskState is the state of a task, or that it runs, which only its worker and the leader know.
func taskState(t client.TaskInfo) string {
	if t.Running {
		return "running"
	}
	return t.State.String()
}

func taskJSON(job uint64, t client.TaskInfo) jsonv1.Task {
	out := jsonv1.Task{
		Job: job, Task: t.Index, State: taskState(t), Reason: t.Reason.String(), Attempt: t.Attempt, Token: t.Token,
		Worker: t.Worker, RunMS: t.RunTime.Milliseconds(), NotBefore: jsonv1.Time(t.NotBefore), Value: t.Value,
		TaskInput: jsonv1.InputOf(t.Input, len(t.Input) < int(t.InputBytes)), InputBytes: t.InputBytes, RetryOf: jsonv1.TaskIDOf(t.RetryOf),
	}
	for i := range t.Attempts {
		out.Attempts = append(out.Attempts, attemptJSON(&t.Attempts[i]))
	}
	return out
}

// resultJSON copies a result; its cursor only if results are printed as they complete.
func resultJSON(job uint64, r *client.Result, cursor bool) jsonv1.Result {
	out := jsonv1.Result{
		Job: job, Task: r.Index, State: r.State.String(), Reason: r.Reason.String(), Attempt: r.Attempt, Token: r.Token,
		Worker: r.Worker, ExitCode: r.ExitCode, OutputMissing: r.OutputMissing, OutputHead: r.OutputHead, StderrMissing: r.StderrMissing, Error: r.Error,
		FinishedAt: jsonv1.Time(r.FinishedAt), Value: r.Value, TaskInput: jsonv1.InputOf(r.Input, r.InputCut), InputCut: r.InputCut,
		RetryOf: jsonv1.TaskIDOf(r.RetryOf), Usage: jsonv1.UsageOf(r.Usage),
	}
	out.SetOutput(r.Output)
	out.SetStderr(r.Stderr)
	if c := r.Cursor(); cursor && c != nil {
		out.Cursor = base64.RawURLEncoding.EncodeToString(c)
	}
	return out
}

func statusJSON(c client.ClusterInfo) jsonv1.Status {
	out := jsonv1.Status{
		Leader: c.Leader, Term: c.Term, Servers: []jsonv1.Server{}, ClusterID: c.ID, AppliedIndex: c.AppliedIndex, Waiting: c.Waiting,
		ActiveVersion: c.ActiveVersion,
	}
	for _, s := range c.Servers {
		out.Servers = append(out.Servers, jsonv1.Server{
			ID: s.ID, Addr: s.Addr, PeerAddr: s.PeerAddr, HTTPAddr: s.HTTPAddr, State: s.State, Voter: s.Voter,
			AppliedIndex: s.AppliedIndex, LastContactMS: s.LastContact.Milliseconds(), Version: s.Version,
			Term: s.Term, ServerID: s.ServerID, Problem: s.Problem, KnowsVersion: s.KnowsVersion,
			CommitIndex: s.CommitIndex, Lag: s.Lag, DiskFreeBytes: s.DiskFree, CertificateExpiresAt: jsonv1.Time(s.CertificateEnd),
		})
	}
	return out
}

func verificationJSON(v client.VerifyInfo) jsonv1.Verification {
	out := jsonv1.Verification{OK: v.OK, Index: v.Index, Servers: []jsonv1.Digest{}}
	for _, s := range v.Servers {
		out.Servers = append(out.Servers, jsonv1.Digest{ID: s.ID, Index: s.Index, Digest: digestText(s), Error: s.Error, Violations: s.Violations})
	}
	return out
}

// digestText is the digest of a server as 16 hexadecimal digits; "" if it has none.
func digestText(d client.DigestInfo) string {
	if d.Error != "" {
		return ""
	}
	return fmt.Sprintf("%016x", d.Digest)
}

func workerJSON(w client.WorkerInfo) jsonv1.Worker {
	out := jsonv1.Worker{
		ID: w.ID, Name: w.Name, Session: w.SessionID, Connected: w.Connected, Unhealthy: w.Unhealthy, Draining: w.Draining,
		Slots: w.Slots, Assigned: w.Assigned, Running: w.Running, Labels: w.Labels, Queues: jsonv1.List(w.Queues), Handlers: jsonv1.List(w.Handlers),
		Commands: w.Commands, Version: w.Version, OpenedAt: jsonv1.Time(w.OpenedAt), LastBeatMS: w.LastBeat.Milliseconds(), Tasks: []jsonv1.RunningTask{},
	}
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	for _, t := range w.Tasks {
		out.Tasks = append(out.Tasks, jsonv1.RunningTask{Job: t.ID.Job, Task: t.ID.Index, RunMS: t.RunTime.Milliseconds()})
	}
	return out
}
