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
	steps []step
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

// chapters are those that have blocks, in the order of the page: each goes on where the one before it has stopped.
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
