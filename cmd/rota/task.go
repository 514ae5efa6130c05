package main

import (
	"bytes"
	"fmt"
	"time"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

func (a *app) printTask(job uint64, t client.TaskInfo) error {
	fields := [][2]string{
		{"Task", task.ID{Job: job, Index: t.Index}.String()}, {"State", taskState(t)}, {"Reason", t.Reason.String()},
		{"Attempt", count(t.Attempt)}, {"Worker", t.Worker},
	}
	if t.Token != 0 {
		fields = append(fields, [2]string{"Token", fmt.Sprint(t.Token)})
	}
	if !t.NotBefore.IsZero() {
		fields = append(fields, [2]string{"Not before", t.NotBefore.Format(time.RFC3339)})
	}
	if t.Value != t.Index {
		fields = append(fields, [2]string{"Value", count(t.Value)})
	}
	if t.InputBytes > 0 {
		text := quoteInput(t.Input, len(t.Input) < int(t.InputBytes), task.MaxInput)
		if len(t.Input) < int(t.InputBytes) {
			text += fmt.Sprintf(" (%d bytes)", t.InputBytes)
		}
		fields = append(fields, [2]string{"Input", text})
	}
	if t.RetryOf != (task.ID{}) {
		fields = append(fields, [2]string{"Retry of", t.RetryOf.String()})
	}
	if err := a.fields(fields...); err != nil {
		return err
	}
	return a.printAttempts(t.Attempts)
}

// attemptText is why an attempt ended as it did.
func attemptText(x *client.AttemptInfo) string {
	if x.Error != "" {
		return x.Error
	}
	return x.Reason.String()
}

// shownLines is how many lines to show of the newest standard error of a task.
const shownLines = 10

// printAttempts shows how the attempts of a task ended.
func (a *app) printAttempts(attempts []client.AttemptInfo) error {
	if len(attempts) == 0 {
		return nil
	}
	if err := a.print("\n"); err != nil {
		return err
	}
	t := a.newTable("ATTEMPT", "ENDED", "TOOK", "WORKER", "STATE", "REASON", "EXIT", "MEMORY", "CPU", "ERROR")
	for i := range attempts {
		x := &attempts[i]
		state, exit, took := "retried", "", ""
		if x.State != 0 {
			state = x.State.String()
		}
		if x.ExitCode != nil {
			exit = fmt.Sprint(*x.ExitCode)
		}
		if !x.GrantedAt.IsZero() {
			took = short(x.EndedAt.Sub(x.GrantedAt))
		}
		t.row(count(x.Attempt), ago(x.EndedAt), took, x.Worker, state, x.Reason.String(), exit, memoryText(x.Usage), cpuText(x.Usage), oneLine(x.Error, 100))
	}
	if err := t.end(); err != nil {
		return err
	}
	for i := len(attempts) - 1; i >= 0; i-- {
		if x := &attempts[i]; len(x.Stderr) > 0 {
			return a.printStderr(x)
		}
	}
	return nil
}

func (a *app) printStderr(x *client.AttemptInfo) error {
	if err := a.print("\nThe end of what attempt %d wrote to standard error:\n", x.Attempt); err != nil {
		return err
	}
	lines := bytes.Split(bytes.TrimRight(x.Stderr, "\n"), []byte("\n"))
	for _, line := range lines[max(0, len(lines)-shownLines):] {
		if err := a.print("  %s\n", string(line)); err != nil {
			return err
		}
	}
	return nil
}

// memoryText is the most memory that a command has used, cpuText is its CPU time; "" if they are not
// known.
func memoryText(u task.Usage) string {
	switch {
	case u.PeakMemory == 0:
		return ""
	case u.PeakMemory < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(u.PeakMemory)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(u.PeakMemory)/(1<<30))
}

func cpuText(u task.Usage) string {
	if u.PeakMemory == 0 {
		return ""
	}
	return short(u.CPUTime)
}
