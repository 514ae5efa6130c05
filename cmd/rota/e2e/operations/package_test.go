package operations

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/cmd/rota/e2e/program"
	"github.com/rota-scheduler/rota/internal/machines"
)

// ok runs commands on a machine, which must succeed, and returns what they printed.
func (r *reader) ok(host, text string) string {
	r.t.Helper()
	out, err := r.run(host, text)
	require.NoError(r.t, err, "on %s:\n%s\n%s", host, text, out)
	return out
}

// single is a configuration of one server and one worker on one machine.
const single = `
server: {node-id: n1, data-dir: /var/lib/rota/server, bootstrap-expect: 1}
worker: {data-dir: /var/lib/rota-worker, name: w1, slots: 2}
`

// The package is installed, serves, is upgraded and is removed on a machine with a systemd of its own.
func TestTheDebianPackageFromInstallToPurge(t *testing.T) {
	t.Parallel()
	program.DependOnSources(t)
	const host = "a.example"
	r := &reader{t, machines.New(t, machines.Config{Boot: true}, host)}
	r.put(host)
	r.ok(host, "dpkg -i rota.deb")
	require.Contains(t, r.ok(host, "id rota; id rota-worker"), "(rota-worker)")
	require.Equal(t, "disabled\n", r.ok(host, "systemctl is-enabled rota-server || true"))
	require.Contains(t, r.ok(host, "rota version"), "rota ")

	// Without a configuration it does not start, says why, and systemd does not try again and again.
	r.ok(host, "! systemctl start rota-server")
	require.Contains(t, r.ok(host, "systemctl show -p Result -p NRestarts -p ExecMainStatus rota-server"), "Result=exit-code\nNRestarts=0\nExecMainStatus=2\n")
	require.Contains(t, r.ok(host, "journalctl -u rota-server"), "/etc/rota/rota.yaml: no such file")

	require.NoError(t, os.WriteFile(r.lan.Machine(host).Path("/etc/rota/rota.yaml"), []byte(single), 0o644))
	require.Equal(t, "server: ok\nworker: ok\n", r.ok(host, "rota config check --config /etc/rota/rota.yaml"))
	r.ok(host, "systemctl enable --now rota-server rota-worker")
	r.eventually(host, "rota worker list", "^w1 .* connected")
	require.Equal(t, "rota-worker\n", r.ok(host, "rota run -- id -un"))
	r.ok(host, "! rota run -- ls /var/lib/rota")
	r.ok(host, "! rota run -- touch /usr/bin/left-behind")
	require.Equal(t, "700 rota\n", r.ok(host, "stat -c '%a %U' /var/lib/rota"))

	// A server that is killed comes back.
	r.ok(host, "systemctl kill -s KILL rota-server")
	r.eventually(host, "systemctl show -p NRestarts --value rota-server", "^1$")
	r.eventually(host, "rota run -- echo again", "^again$")

	// An upgrade leaves what runs alone, and the configuration too.
	before := r.ok(host, "systemctl show -p MainPID rota-server rota-worker")
	require.Contains(t, r.ok(host, "dpkg -i rota.deb"), "restart one server after the other")
	require.Equal(t, before, r.ok(host, "systemctl show -p MainPID rota-server rota-worker"))
	require.Equal(t, single, r.ok(host, "cat /etc/rota/rota.yaml"))

	r.ok(host, "systemctl stop rota-server rota-worker")
	require.Equal(t, "Result=success\n\nResult=success\n", r.ok(host, "systemctl show -p Result rota-server rota-worker"))

	r.ok(host, "systemctl start rota-server rota-worker && dpkg -r rota")
	require.Empty(t, strings.TrimSpace(r.ok(host, "pgrep -x rota || true")))
	out := r.ok(host, "dpkg --purge rota")
	require.Contains(t, out, "/var/lib/rota has data and stays")
	r.ok(host, "test -d /var/lib/rota/server && test -f /etc/rota/rota.yaml && ! test -e /usr/bin/rota")
}
