package e2e

import (
	"context"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/cmd/rota/e2e/program"
	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/task"
)

const (
	// beforeCommit is the last build that knows version 3 of the log and speaks plain text only.
	beforeCommit  = "038f482"
	beforeVersion = 3
)

// TestTheBuildBeforeIsUpgraded replaces a cluster of the build before, server by server and under load: first to this
// build, and back while the version has not risen; then workers; then to TLS. No submit fails, digests agree, and this
// build reads states and snapshots of the one before.
func TestTheBuildBeforeIsUpgraded(t *testing.T) {
	if os.Getenv("ROTA_E2E_FULL") == "" {
		t.Skip("it builds another commit: make full")
	}
	before, err := program.BuildBefore(t.TempDir(), beforeCommit)
	require.NoError(t, err)
	if before == "" {
		t.Skipf("the commit %s is not here: this is no clone with its history, and ROTA_E2E_BEFORE names no build", beforeCommit)
	}
	c := lay(t, localcluster.Config{Servers: 3, Workers: 2, Slots: 8, ServerFlags: smallSnapshots})
	for _, p := range c.Processes() {
		p.SetBinary(before)
	}
	c.startAll()
	u := &upgrade{cluster: c, next: binary}
	u.load = submitLoops(2, "plain", submitWith(u.client(), task.Spec{Handler: "rota.square"}))
	u.load.more(t, 20)

	// The first one gets a snapshot of the build before, and then it leads.
	order := u.order(false)
	first := order[0]
	require.NoError(t, first.Signal(syscall.SIGKILL))
	u.ended(first)
	u.bulk(u.client(), 4<<20)
	first.SetBinary(binary)
	require.True(t, u.installUpTo(first, ""))
	u.ready(first)
	u.load.more(t, 20)
	u.verify()
	await(t, "a leader of this build", func() bool {
		u.rota("cluster", "transfer-leader", first.Name)
		return u.leader() == first
	})
	u.load.more(t, 20)
	require.EqualValues(t, beforeVersion, u.versions().ActiveVersion)
	// Back, and then for good.
	u.replace(first, before, syscall.SIGTERM)
	for _, s := range u.order(false) {
		u.replace(s, binary, syscall.SIGTERM)
	}
	await(t, "the rise of the version", func() bool { return u.versions().ActiveVersion == task.Version })
	for _, w := range c.Workers {
		u.again(w, func() { w.SetBinary(binary) })
		u.load.more(t, 20)
	}
	u.requireOldServerStops(c.Servers[0], before, syscall.SIGTERM)
	u.changeToTLS()
}

// again stops a process and starts it with a change.
func (u *upgrade) again(p *localcluster.Process, change func()) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), within)
	defer cancel()
	require.NoError(u.t, p.Stop(ctx))
	change()
	u.restart(p)
}
