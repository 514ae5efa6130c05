package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// maxNamed is how many jobs the ids of one command line may name.
const maxNamed = 10_000

// Words that name jobs beside ids.
const (
	lastJob = "last"
	allJobs = "all"
)

// named is a job that a command line names, or a task of it.
type named struct {
	task.ID
	isTask bool
}

func (n named) String() string {
	if n.isTask {
		return n.ID.String()
	}
	return fmt.Sprint(n.Job)
}

// selection is what the arguments of a verb name.
type selection struct {
	names []named
	// newest is the newest job, whose id is not known yet, and tasks of it.
	newest []named
	// all: also all jobs that match the filter.
	all    bool
	filter *jobFilter
}

// jobsHelp explains the arguments, for the help of verbs that take several jobs.
const jobsHelp = "\n\nName several as 7 9, 7,9 or 7-9; last is the newest job."

// tasksHelp is jobsHelp for verbs that also take single tasks.
const tasksHelp = jobsHelp + "\n42.7 is the task with index 7 of job 42, last.7 one of the newest job."

// wantJobs takes the names of jobs.
func wantJobs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("%s needs a job id; see %s --help", cmd.CommandPath(), cmd.CommandPath())
	}
	return nil
}

// parseJobs parses arguments such as 42, 42.7, 1-10,15 and last. filter says what the word all means; nil: the
// verb does not take it.
func parseJobs(args []string, tasks bool, filter *jobFilter) (selection, error) {
	s := selection{filter: filter}
	for _, arg := range args {
		for text := range strings.SplitSeq(arg, ",") {
			if err := s.add(text, tasks); err != nil {
				return selection{}, err
			}
		}
	}
	switch narrow := filter != nil && filter.narrows(); {
	case s.all && !narrow:
		return selection{}, usagef("all needs a filter: give --queue, --name or --state")
	case narrow && !s.all:
		return selection{}, usagef("--queue, --name and --state belong to all: name all, or leave them out")
	}
	return s, nil
}

// parseJob parses an argument that names one job: 42 or last.
func parseJob(arg string) (s selection, err error) {
	if arg != lastJob {
		if _, err := jobID(arg); err != nil {
			return s, err
		}
	}
	return s, s.add(arg, false)
}

func (s *selection) add(text string, tasks bool) error {
	switch {
	case text == lastJob:
		return s.nameNewest(named{})
	case text == allJobs && s.filter != nil:
		s.all = true
		return nil
	}
	if index, ok := strings.CutPrefix(text, lastJob+"."); ok && tasks {
		i, err := task.ParseIndex(index)
		if err != nil {
			return usagef("%q is not a task id: expected a number after the dot, such as %s.7", text, lastJob)
		}
		return s.nameNewest(named{task.ID{Index: i}, true})
	}
	if first, last, isRange := strings.Cut(text, "-"); isRange {
		return s.addRange(text, first, last)
	}
	id, isTask, err := taskID(text)
	switch {
	case err != nil && tasks:
		return err
	case err != nil || isTask && !tasks:
		_, err := jobID(text)
		return err
	}
	return s.name(named{id, isTask})
}

func (s *selection) addRange(text, first, last string) error {
	from, err := jobID(first)
	if err != nil {
		return usagef("malformed range of jobs %q: expected first-last, such as 7-9", text)
	}
	to, err := jobID(last)
	if err != nil || to < from {
		return usagef("malformed range of jobs %q: expected first-last, such as 7-9", text)
	}
	if to-from >= maxNamed {
		return usagef("%q names %d jobs, and the limit is %d", text, to-from+1, maxNamed)
	}
	for id := from; id <= to; id++ {
		if err := s.name(named{ID: task.ID{Job: id}}); err != nil {
			return err
		}
	}
	return nil
}

func (s *selection) name(n named) error {
	if len(s.names) == maxNamed {
		return usagef("more than %d jobs are named, which is the limit", maxNamed)
	}
	s.names = append(s.names, n)
	return nil
}

func (s *selection) nameNewest(n named) error {
	if slices.Contains(s.newest, n) {
		return nil
	}
	if len(s.newest) == maxNamed {
		return usagef("more than %d tasks are named, which is the limit", maxNamed)
	}
	s.newest = append(s.newest, n)
	return nil
}

// single reports whether the arguments name one job or task. Then its JSON is no list.
func (s *selection) single() bool {
	return !s.all && len(s.names)+len(s.newest) == 1
}

// find asks the servers for the jobs that the arguments do not name by id.
func (s *selection) find(ctx context.Context, c *client.Client) ([]named, error) {
	names := s.names
	if len(s.newest) > 0 {
		id, err := newestJob(ctx, c)
		if err != nil {
			return nil, err
		}
		for _, n := range s.newest {
			n.Job = id
			names = append(names, n)
		}
	}
	if !s.all {
		return names, nil
	}
	for j, err := range c.List(ctx, s.filter.options) {
		if err != nil {
			return nil, err
		}
		names = append(names, named{ID: task.ID{Job: j.ID}})
	}
	return names, nil
}

func newestJob(ctx context.Context, c *client.Client) (uint64, error) {
	for j, err := range c.List(ctx, client.ListOptions{PageSize: 1}) {
		return j.ID, err
	}
	return 0, task.Errorf(task.KindNotFound, "there is no job yet")
}

// eachJob calls f for each job and task that the arguments name. After an error it goes on with the next one; the
// first error decides the exit code.
func (a *app) eachJob(ctx context.Context, c *client.Client, s *selection, f func(n named) error) error {
	names, err := s.find(ctx, c)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		a.say("rota: no %sjob matches", s.filter.besides())
	}
	var first error
	for _, n := range names {
		err := f(n)
		switch {
		case err == nil:
			continue
		case len(names) == 1, ctx.Err() != nil, errors.Is(err, errInterrupted), errors.Is(err, errWaitTimeout), task.KindOf(err) == task.KindUnavailable:
			return err
		}
		if text := errorText(err); text != "" {
			a.say("rota: %s", text)
		}
		if first == nil {
			first = &codeError{code: exitCode(err)}
		}
	}
	return first
}

// jsonPrinter returns functions that print values as JSON: one value alone, several as a list.
func (a *app) jsonPrinter(s *selection) (add func(v any) error, end func() error) {
	if s.single() {
		return a.printOne, func() error { return nil }
	}
	list := a.newJSONList(a.out)
	return list.add, list.end
}

// jobFilter is the flags that choose jobs.
type jobFilter struct {
	options client.ListOptions
	states  []string
	// open: leave out jobs that are over.
	open bool
}

func (f *jobFilter) add(fs *pflag.FlagSet, which string) {
	fs.StringVar(&f.options.Queue, "queue", "", which+" of this queue")
	fs.StringVar(&f.options.Name, "name", "", which+" with this name")
	fs.StringSliceVar(&f.states, "state", nil, which+" in these states: pending, running, succeeded, failed, cancelled")
}

// parse parses the states.
func (f *jobFilter) parse() error {
	f.options.States = nil
	for _, name := range f.states {
		s, ok := task.ParseJobState(name)
		if !ok {
			return usagef("unknown --state %q: use pending, running, succeeded, failed or cancelled", name)
		}
		f.options.States = append(f.options.States, s)
	}
	return nil
}

// onlyOpen leaves out jobs that are over, unless the user gave states.
func (f *jobFilter) onlyOpen() {
	if len(f.states) == 0 {
		f.open = true
		f.options.States = []task.JobState{task.JobPending, task.JobRunning}
	}
}

// besides names the states that the filter wants though the user gave none.
func (f *jobFilter) besides() string {
	if f.open {
		return "pending or running "
	}
	return ""
}

func (f *jobFilter) narrows() bool {
	return f.options.Queue != "" || f.options.Name != "" || len(f.states) > 0
}
