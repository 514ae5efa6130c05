//go:build linux

package command

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker/guard"
)

// What commands get of the agent's environment, and what they can find out about the rest.
//
// A command gets the variables below, those of its job, which go before, and ROTA_ADDR, which names
// the servers of its worker, so that rota within a task speaks to them. They say who runs it
// and where (HOME, USER, LOGNAME, SHELL), where programs and room for temporary files are (PATH,
// TMPDIR), and in what language and time zone it speaks (LANG, LANGUAGE, LC_*, TZ): what cron and
// login set up as well, and what programs take for granted. All else stays with the agent: it may
// hold secrets, and a task must not depend on who started the agent from which shell. What the
// agent does not have, commands do not get; only PATH has a default.
//
// A process can read the environment, as it was at the start, of every other one of its user, in
// /proc/PID/environ. Those of guard and keepers hold nothing (package guard). The agent overwrites
// its own there before it runs its first command, so that nobody finds anything else in it than
// commands get (secrets.go). Besides, none of them is dumpable: other processes of the same user
// cannot trace it, nor read its memory or open its files.
//
// That does not hold against root. A task that runs as root, which it does where the agent does,
// can read the agent's memory, and with it all that the agent knows, as it can read everything
// else on the machine. Nor does it hold for what has started the agent, such as a shell or rota
// dev, whose environment may have the same variables: that is not ours to change. A worker that
// runs tasks which must not know its secrets runs as a user of its own, started by a service
// manager.

// inherited is what a command gets of the agent's environment, besides all of localePrefix.
var inherited = []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "LANG", "LANGUAGE", "TZ"}

// localePrefix begins the names of the categories of a locale, such as LC_TIME.
const localePrefix = "LC_"

// isInherited says whether commands get a variable of the agent's environment.
func isInherited(name string) bool {
	return strings.HasPrefix(name, localePrefix) || slices.Contains(inherited, name)
}

// defaultPath is for an agent that has no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Names that every command finds in its environment.
const (
	envJob     = "ROTA_JOB_ID"
	envIndex   = "ROTA_TASK_INDEX"
	envValue   = "ROTA_TASK_VALUE"
	envAttempt = "ROTA_ATTEMPT"
	envFence   = "ROTA_FENCE"
)

// envAddr is where the client finds servers: those of the task, unless its job says otherwise.
const envAddr = "ROTA_ADDR"

// reserved are the names that a job cannot set.
var reserved = []string{envJob, envIndex, envValue, envAttempt, envFence, guard.Env}

// prepare finds out what the tasks share. addrs is where its servers are.
func (w *Work) prepare(addrs []string) {
	w.once.Do(func() {
		w.env = jobEnvironment(w.Spec.Env, addrs)
		w.program = w.Spec.Command[0]
		w.path, w.pathErr = lookPath(w.program, w.env)
	})
}

// find is where a program is, which nearly always is the same one for all tasks.
func (w *Work) find(program string) (string, error) {
	if program == w.program {
		return w.path, w.pathErr
	}
	return lookPath(program, w.env)
}

// environment is that of one task's command, after prepare. Each name stands in it once: with two,
// it depends on the program which one counts.
func (w *Work) environment(t *Task) []string {
	env := make([]string, len(w.env), len(w.env)+5)
	copy(env, w.env)
	return append(env,
		envJob+"="+strconv.FormatUint(t.Job, 10),
		envIndex+"="+strconv.FormatUint(uint64(t.Index), 10),
		envValue+"="+strconv.FormatUint(uint64(t.Value), 10),
		envAttempt+"="+strconv.FormatUint(uint64(t.Attempt), 10),
		envFence+"="+strconv.FormatUint(t.Token, 10),
	)
}

func jobEnvironment(job []task.Pair, addrs []string) []string {
	all := map[string]string{"PATH": defaultPath, envAddr: strings.Join(addrs, ",")}
	for _, v := range os.Environ() {
		if name, value, _ := strings.Cut(v, "="); isInherited(name) {
			all[name] = value
		}
	}
	for _, p := range job {
		if !slices.Contains(reserved, p.Key) {
			all[p.Key] = p.Value
		}
	}
	env := make([]string, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		env = append(env, name+"="+all[name])
	}
	return env
}

// lookPath finds a program as the command's own environment says. A name with a
// slash is left as it is; relative ones count from the working directory.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, e := range env {
		path, ok := strings.CutPrefix(e, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(path) {
			// A relative one would find other programs in each working directory.
			if !filepath.IsAbs(dir) {
				continue
			}
			file := filepath.Join(dir, name)
			if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return file, nil
			}
		}
	}
	return "", fmt.Errorf("command not found on this worker: %q", name)
}
