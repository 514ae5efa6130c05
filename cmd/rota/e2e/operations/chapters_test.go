package operations

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/api/jsonv1"
)

// chapter is a section of the page, with what must come of each of its blocks.
type chapter struct {
	title string
	// before is done before the first block.
	before func(r *reader)
	steps  []step
	// after is done behind the last block.
	after func(r *reader)
}

// step is a block: its first command, so that page and test do not drift apart, and what must come of it. check runs behind it
// and gets what it printed.
type step struct {
	first string
	check func(r *reader, out string)
}

// prints checks what a block printed.
func prints(pattern string) func(r *reader, out string) {
	return func(r *reader, out string) {
		r.t.Helper()
		require.Regexp(r.t, "(?m)"+pattern, out)
	}
}

// chapters are those that have blocks. Each goes on where the one before it has stopped, so the order is that of a story, and not
// always that of the page.
var chapters = []chapter{
	{title: "Install", steps: []step{
		{"for host in a b c w1 w2; do", func(r *reader, _ string) {
			for _, host := range append(servers, workers...) {
				out, err := r.run(host, "rota version; systemctl is-enabled rota-server rota-worker || true")
				require.NoError(r.t, err, out)
				require.Equal(r.t, 2, strings.Count(out, "disabled"), "nothing starts by itself:\n%s", out)
			}
		}},
	}},
	{title: "Three machines in five commands", steps: []step{
		{"rota tls init --out tls a.example b.example c.example", func(r *reader, out string) {
			prints(`^[abc]\.example +leader +yes`)(r, r.eventually(admin, "rota cluster status", `: 3 of 3$`))
			for _, host := range servers {
				out, err := r.run(host, "systemctl is-active rota-server; ss -Hltn | grep -c ':742[012] '")
				require.NoError(r.t, err, out)
				require.Equal(r.t, "active\n3\n", out)
			}
		}},
	}},
	{title: "Add workers", after: theLeaderIsCutOff, steps: []step{
		{"for host in w1 w2; do", func(r *reader, _ string) {
			r.eventually(admin, "rota worker list", `^w1\.example .* connected`)
			r.eventually(admin, "rota worker list", `^w2\.example .* connected`)
		}},
		{"rota run -- hostname", prints(`^w[12]\.example$`)},
	}},
	{title: "Another version of Rota", after: workersAreThere, steps: []step{
		{"for host in a b c; do", prints(`: 3 of 3$`)},
		{"for host in w1 w2; do", nil},
	}},
	{title: "A server that has lost its data", steps: []step{
		{"systemctl stop rota-server", func(r *reader, _ string) {
			r.eventually(admin, "rota cluster status", `^b\.example +\w+ +yes`)
			r.eventually(admin, "rota cluster status", `: 3 of 3$`)
		}},
	}},
	{title: "Back up", steps: []step{
		{"rota cluster snapshot save rota.backup", nil},
		{"cp tls/admin/* /etc/rota", prints(`\.backup$`)},
	}},
	{title: "Certificates", after: workersAreThere, steps: []step{
		{"rota tls ca --out tls/next", prints(`^Made `)},
		{"for host in a b c; do", prints(`^Made `)},
		{"for host in a b c w1 w2; do scp tls/next/ca.crt root@$host.example:/etc/rota/ca.crt; done", prints(`: 3 of 3$`)},
	}},
	{title: "A majority of the servers is lost", before: twoServersAreLost, after: workersAreThere, steps: []step{
		{"systemctl stop rota-server", prints(`term`)},
		{"runuser -u rota -- rota cluster recover --data-dir /var/lib/rota/server --out /var/lib/rota/new --peer-addr c.example:7421 --confirm", nil},
		{"for host in a b; do ssh root@$host.example 'systemctl start rota-server'; done", func(r *reader, out string) {
			theJobsAreThere(r, out)
			allVote(servers)(r, out)
		}},
	}},
	{title: "Restore a backup", after: workersAreThere, steps: []step{
		{"systemctl stop rota-server", nil},
		{"scp rota.backup root@a.example:/var/lib/rota/rota.backup", nil},
		{"runuser -u rota -- rota cluster snapshot restore /var/lib/rota/rota.backup --data-dir /var/lib/rota/server --node-id a.example --peer-addr a.example:7421", nil},
		{"for host in b c; do ssh root@$host.example 'systemctl start rota-server'; done", theJobsAreThere},
		{"for host in b c; do rota cluster add $host.example --wait 1m; done", allVote(servers)},
	}},
	{title: "Which servers vote", before: aServerIsLost, after: workersAreThere, steps: []step{
		{"rota cluster remove c.example", allVote([]string{"a.example", "b.example", spare})},
	}},
}

// twoServersAreLost ends two servers, with their disks.
func twoServersAreLost(r *reader) {
	for _, host := range []string{"a.example", "b.example"} {
		r.ok(host, "systemctl stop rota-server && rm -r /var/lib/rota/server")
	}
}

// aServerIsLost pulls the cable of a server for good.
func aServerIsLost(r *reader) { r.lan.Cut("c.example") }

// allVote wants a cluster of these voters.
func allVote(hosts []string) func(r *reader, out string) {
	return func(r *reader, _ string) {
		for _, host := range hosts {
			r.eventually(admin, "rota cluster status", "^"+strings.ReplaceAll(host, ".", `\.`)+` +\w+ +yes`)
		}
		r.eventually(admin, "rota cluster status", `: 3 of 3$`)
	}
}

// theJobsAreThere looks for a job of an earlier chapter.
func theJobsAreThere(r *reader, _ string) {
	r.eventually(admin, "rota job list --limit 0", secret+"-1")
}

// workersAreThere waits for all workers, and lets one of them do something.
func workersAreThere(r *reader) {
	for _, host := range workers {
		r.eventually(admin, "rota worker list", "^"+strings.ReplaceAll(host, ".", `\.`)+" .* connected")
	}
	require.Regexp(r.t, `(?m)^w[12]\.example$`, r.ok(admin, "rota run --name "+secret+" -- hostname"))
}

// leader returns the name of the leader; "": there is none.
func (r *reader) leader() string {
	r.t.Helper()
	var status jsonv1.Status
	require.NoError(r.t, json.Unmarshal([]byte(r.ok(admin, "rota cluster status -o json 2>/dev/null")), &status))
	return status.Leader
}

// theLeaderIsCutOff pulls the cable of the leader while a job runs. The job goes on, new ones are taken, and the server is
// one of three again when it has its cable back.
func theLeaderIsCutOff(r *reader) {
	job := strings.TrimSpace(r.ok(admin, fmt.Sprintf("rota submit --name %s-1 --array 0-3 --payload %s-2 -- sh -c 'cat; sleep 5; echo %s-3'", secret, secret, secret)))
	r.eventually(admin, "rota job get -o json "+job, `"assigned": 4`)
	old := r.leader()
	require.Contains(r.t, servers, old)
	r.lan.Cut(old)
	r.eventually(admin, "rota cluster status", `: 2 of 3$`)
	require.NotEqual(r.t, old, r.leader())
	require.Equal(r.t, secret+"-4", r.ok(admin, "rota run --name "+secret+"-5 -- printf "+secret+"-4 2>/dev/null"))
	require.Equal(r.t, 4, strings.Count(r.ok(admin, "rota job results "+job), secret+"-2"+secret+"-3"))
	require.Equal(r.t, 4, strings.Count(r.ok(admin, "rota job results -o jsonl "+job), `"attempt":1,`), "a task was started again")
	r.lan.Heal(old)
	r.eventually(admin, "rota cluster status", `: 3 of 3$`)
}
