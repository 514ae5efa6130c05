//go:build linux

package worker

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
)

// secret is in the environment of agents that start below.
const secret = "ROTA_TOKEN=swordfish"

func TestTasksFindNoSecretsInTheEnvironmentOfTheirAncestors(t *testing.T) {
	t.Parallel()
	d := newDouble(t)
	a := startAgent(t, d, "", func(cmd *exec.Cmd) {
		cmd.Env = append(cmd.Env, secret, "LANG=C.UTF-8", "DATABASE_URL=postgres://swordfish@db")
	})
	d.assign(t, sabotage(1, a.cmd.Process.Pid, `for p in $UP $AGENT; do echo "$p: $(tr '\0' ' ' < /proc/$p/environ)"; done; env`))
	got := d.await(t, 1, 0)
	require.Equal(t, rotav1.Outcome_OUTCOME_SUCCEEDED, got.outcome, "%+v", got)
	require.NotContains(t, got.output, "swordfish")
	lines := strings.Split(got.output, "\n")
	require.Contains(t, lines[0], "ROTA_WORKER_GUARD=keeper")
	require.Contains(t, lines[1], "ROTA_WORKER_GUARD=guard")
	// The agent's is what commands get anyway, which shows that it was read.
	require.True(t, strings.HasPrefix(lines[2], fmt.Sprint(a.cmd.Process.Pid)))
	require.Contains(t, lines[2], "PATH=")
	require.Contains(t, lines[2], "LANG=C.UTF-8")
	require.Contains(t, got.output, "\nLANG=C.UTF-8\n", "commands get it as ever")
}

// If the agent is not root, its tasks can read none of its memory and files, nor those of guard and keepers.
func TestTasksCannotReadTheMemoryOfTheirAncestors(t *testing.T) {
	t.Parallel()
	d := newDouble(t)
	a := startAgent(t, d, "", func(cmd *exec.Cmd) {
		if os.Geteuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			cmd.Env = append(cmd.Env, "TMPDIR=/tmp")
		}
	})
	d.assign(t, sabotage(1, a.cmd.Process.Pid, `
id -u
for p in $UP $AGENT; do
	for f in mem environ maps; do
		(: < /proc/$p/$f) 2>/dev/null && echo "$p: $f is readable"
	done
	ls /proc/$p/fd/ >/dev/null 2>&1 && echo "$p: files are"
done
(: < /proc/$$/mem) && echo own`))
	got := d.await(t, 1, 0)
	require.Equal(t, rotav1.Outcome_OUTCOME_SUCCEEDED, got.outcome, "%+v", got)
	uid := os.Geteuid()
	if uid == 0 {
		uid = 65534
	}
	require.Equal(t, fmt.Sprintf("%d\nown\n", uid), got.output)
}

// A program that has capabilities, or that its user may execute and not read, may not write to its own
// memory by way of /proc. Its environment is closed to others from the beginning.
func TestAnAgentThatStartsSealedRunsCommands(t *testing.T) {
	t.Parallel()
	d := newDouble(t)
	a := startAgent(t, d, "", func(cmd *exec.Cmd) {
		if os.Geteuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			cmd.Env = append(cmd.Env, "TMPDIR=/tmp")
		}
		cmd.Env = append(cmd.Env, testAgentSealedEnv+"=yes", secret)
	})
	d.assign(t, sabotage(1, a.cmd.Process.Pid, `for p in $UP $AGENT; do (: < /proc/$p/environ) 2>/dev/null && echo "$p is readable"; done; echo ran`))
	got := d.await(t, 1, 0)
	require.Equal(t, rotav1.Outcome_OUTCOME_SUCCEEDED, got.outcome, "%+v", got)
	require.Equal(t, "ran\n", got.output)
}
