package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// specFlags are the flags that describe a job: those of run, submit and map.
type specFlags struct {
	flags *pflag.FlagSet

	name, queue, handler, alloc, cwd, key, at string
	payload, array, stdout                    string
	serial                                    bool
	maxParallel                               uint32
	priority                                  int32
	retries                                   int
	timeout, delay, expire, retention         time.Duration
	require, env, meta                        []string
	waitTimeout                               time.Duration
	asCompleted                               bool
}

// add adds the flags. fromStdin leaves out payload and array: the tasks of map come from
// standard input.
func (s *specFlags) add(f *pflag.FlagSet, fromStdin bool, retries int) {
	s.flags = f
	f.StringVar(&s.name, "name", "", "name of the job, for people")
	f.StringVar(&s.queue, "queue", task.DefaultQueue, "queue of the job")
	f.StringVar(&s.handler, "handler", "", "run this handler of the workers instead of a command")
	if !fromStdin {
		f.StringVar(&s.payload, "payload", "", "standard input of each task: text, @file, or - to read it from this standard input")
		f.StringVar(&s.array, "array", "", "a task for each value, such as 0-999 or 1,3,5-9:2; add %4 to run 4 at once")
	}
	f.StringVar(&s.alloc, "alloc", task.LeastLoaded.String(), "which worker gets a task: "+strings.Join(task.PolicyNames(), ", "))
	f.BoolVar(&s.serial, "serial", false, "run the tasks in index order, one at a time")
	f.Uint32Var(&s.maxParallel, "max-parallel", 0, "largest number of tasks that run at once; 0: no limit")
	f.Int32Var(&s.priority, "priority", 0, "higher goes first within the queue, -1000 to 1000")
	f.IntVar(&s.retries, "retries", retries, "how often to try a failed task again")
	f.DurationVar(&s.timeout, "timeout", 0, "longest run of one attempt; 0: no limit")
	f.DurationVar(&s.delay, "delay", 0, "start no earlier than this long after the submit")
	f.StringVar(&s.at, "at", "", "start no earlier than this time, such as 2030-01-31T18:00:00Z")
	f.DurationVar(&s.expire, "expire", 0, "cancel tasks that have not started this long after the submit")
	f.DurationVar(&s.retention, "retention", 0, "how long to keep the finished job; 0: 24h if it succeeded, else 7 days")
	f.StringArrayVar(&s.require, "require", nil, "label that a worker must have, k=v; may be repeated")
	f.StringVar(&s.key, "key", "", "request key: a second submit of the same job with the same key makes no second job")
	f.StringArrayVar(&s.env, "env", nil, "environment of the command, k=v; may be repeated")
	f.StringVar(&s.cwd, "cwd", "", "folder of the worker to run the command in; relative to the folder here, such as . ; empty: a new empty folder for each attempt")
	f.StringVar(&s.stdout, "stdout", "ends", "what to do with a command's output: ends (keep the first and last 128 KiB if it has more than 256 KiB), full (fail the task if it has more than 256 KiB), discard, or file:PATH on the worker, with {job}, {task}, {value} or {attempt} in it")
	f.StringArrayVar(&s.meta, "meta", nil, "k=v kept with the job; may be repeated")
	f.DurationVar(&s.waitTimeout, "wait-timeout", 0, "how long to wait for the end of the job; 0: no limit")
	f.BoolVar(&s.asCompleted, "as-completed", false, "print results as tasks complete, not in index order")
}

// commandOf returns the command after the flags of a verb. Flags end where the command
// begins, with or without -- between them.
func commandOf(cmd *cobra.Command, args []string, handler string) ([]string, error) {
	switch {
	case handler == "" && len(args) == 0:
		return nil, usagef("no command: give one after --, as in %s -- echo hi, or name a --handler", cmd.CommandPath())
	case handler != "" && len(args) > 0:
		return nil, usagef("a --handler and a command contradict each other: give one of them")
	}
	return args, nil
}

// request makes the request for the job that the flags describe.
func (s *specFlags) request(command []string, in io.Reader) (client.Request, error) {
	spec, err := s.spec(command)
	if err != nil {
		return client.Request{}, err
	}
	r := client.Request{Count: 1, Key: s.key}
	if s.payload != "" {
		if spec.SharedPayload, err = readPayload(s.payload, in); err != nil {
			return client.Request{}, err
		}
	}
	if s.flags.Changed("array") {
		a, err := parseArray(s.array)
		if err != nil {
			return client.Request{}, err
		}
		if a.maxParallel != 0 && spec.MaxParallel != 0 {
			return client.Request{}, usagef("--array with %%%d and --max-parallel contradict each other: give one of them", a.maxParallel)
		}
		r.Count = a.count
		spec.Values = a.values()
		spec.MaxParallel = max(spec.MaxParallel, a.maxParallel)
	}
	r.Spec = spec
	return r, check(spec, s.key, r.Count > 1)
}

// check refuses what the servers would refuse, so that the error is about the command line.
// It also refuses one output file for many tasks, because each would overwrite it.
func check(spec task.Spec, key string, many bool) error {
	spec.SetDefaults()
	if err := spec.Validate(); err != nil {
		return usageOf(err)
	}
	if many && spec.Stdout == task.StdoutFile && !strings.Contains(spec.StdoutPath, "{task}") && !strings.Contains(spec.StdoutPath, "{value}") {
		return usagef("all tasks would write to the same file %q: put {task} or {value} into its name", spec.StdoutPath)
	}
	for _, arg := range append([]string{key, spec.Cwd, spec.StdoutPath}, spec.Command...) {
		if !utf8.ValidString(arg) {
			return usagef("%q is not UTF-8; pass binary data as payload", arg)
		}
	}
	return usageOf(task.ValidKey(key))
}

// spec makes the specification of a job of the flags and the command.
func (s *specFlags) spec(command []string) (task.Spec, error) {
	policy, ok := task.ParsePolicy(s.alloc)
	if !ok {
		return task.Spec{}, usagef("unknown --alloc %q: use %s", s.alloc, strings.Join(task.PolicyNames(), " or "))
	}
	if s.retries < 0 || s.retries >= task.MaxAttempts {
		return task.Spec{}, usagef("--retries %d is out of range: use 0 to %d", s.retries, task.MaxAttempts-1)
	}
	if err := noEmptyKey(s.flags); err != nil {
		return task.Spec{}, err
	}
	if s.cwd != "" {
		// Workers take absolute folders only; people mean one relative to where they are.
		abs, err := filepath.Abs(s.cwd)
		if err != nil {
			return task.Spec{}, err
		}
		s.cwd = abs
	}
	if len(command) == 0 && (s.cwd != "" || len(s.env) > 0) {
		return task.Spec{}, usagef("--cwd and --env are for commands, not for handlers")
	}
	stdout, stdoutPath, err := task.ParseStdout(s.stdout)
	if err != nil {
		return task.Spec{}, usagef("malformed --stdout: %v", err)
	}
	if s.waitTimeout < 0 {
		return task.Spec{}, usagef("--wait-timeout %v is negative", s.waitTimeout)
	}
	spec := task.Spec{
		Name: s.name, Queue: s.queue, Handler: s.handler, Command: command, Cwd: s.cwd, Policy: policy, Serial: s.serial,
		Stdout: stdout, StdoutPath: stdoutPath,
		MaxParallel: s.maxParallel, Priority: s.priority, MaxAttempts: uint32(s.retries) + 1,
		Timeout: s.timeout, Delay: s.delay, Expire: s.expire, Retention: s.retention,
	}
	err = s.fill(&spec)
	return spec, err
}

// noEmptyKey refuses a --key that is given and empty: the user wants the request to be safe to repeat, and it would not be.
func noEmptyKey(f *pflag.FlagSet) error {
	if f.Changed("key") && f.Lookup("key").Value.String() == "" {
		return usagef("--key is empty: name a key, or leave --key out")
	}
	return nil
}

// fill parses the start and the pairs, and sets them in a specification.
func (s *specFlags) fill(spec *task.Spec) error {
	if s.at != "" {
		at, err := time.Parse(time.RFC3339, s.at)
		if err != nil {
			return usagef("malformed --at %q: expected a time such as 2030-01-31T18:00:00Z", s.at)
		}
		spec.NotBefore = at.UnixNano()
	}
	for _, p := range []struct {
		flag string
		from []string
		to   *[]task.Pair
	}{{"require", s.require, &spec.Require}, {"env", s.env, &spec.Env}, {"meta", s.meta, &spec.Meta}} {
		var err error
		if *p.to, err = parsePairs(p.flag, p.from); err != nil {
			return err
		}
	}
	return nil
}

// parsePairs parses k=v, sorted by key.
func parsePairs(flag string, texts []string) ([]task.Pair, error) {
	var pairs []task.Pair
	for _, text := range texts {
		k, v, ok := strings.Cut(text, "=")
		if !ok || k == "" {
			return nil, usagef("malformed --%s %q: expected key=value", flag, text)
		}
		if !utf8.ValidString(text) {
			return nil, usagef("--%s %q is not UTF-8", flag, text)
		}
		pairs = append(pairs, task.Pair{Key: k, Value: v})
	}
	slices.SortFunc(pairs, func(a, b task.Pair) int { return strings.Compare(a.Key, b.Key) })
	for i := 1; i < len(pairs); i++ {
		if pairs[i].Key == pairs[i-1].Key {
			return nil, usagef("--%s %s is given twice", flag, pairs[i].Key)
		}
	}
	return pairs, nil
}

// readPayload is what --payload means: text, @file, or - for standard input.
func readPayload(arg string, in io.Reader) ([]byte, error) {
	from, name := in, "standard input"
	switch {
	case arg == "-":
	case strings.HasPrefix(arg, "@"):
		f, err := os.Open(arg[1:])
		if err != nil {
			return nil, usagef("cannot read the payload: %v", err)
		}
		defer f.Close()
		from, name = f, arg[1:]
	default:
		from, name = strings.NewReader(arg), "the argument"
	}
	// One byte more than allowed shows that there is too much.
	b, err := io.ReadAll(io.LimitReader(from, task.MaxPayload+1))
	if err != nil {
		return nil, usagef("cannot read the payload from %s: %v", name, err)
	}
	if len(b) > task.MaxPayload {
		return nil, usagef("the payload from %s has more than %d bytes, which is the limit: put larger data where tasks can read it", name, task.MaxPayload)
	}
	return b, nil
}
