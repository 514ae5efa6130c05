package operations

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/cmd/rota/e2e/program"
	"github.com/rota-scheduler/rota/internal/machines"
)

// repository is the folder of the documents.
var repository = filepath.Join("..", "..", "..", "..")

const (
	// within is how long a condition may take to come true. It leaves room for a busy machine.
	within = 2 * time.Minute
	// pollEvery is how often a condition is looked at.
	pollEvery = 200 * time.Millisecond
)

// debs is the folder for the package that deb builds.
var debs string

// deb returns the path of the Debian package, which is built once.
var deb = sync.OnceValues(func() (string, error) { return program.Package(debs) })

func TestMain(m *testing.M) {
	machines.Main()
	dir, err := os.MkdirTemp("", "rota-deb-")
	if err != nil {
		panic(err)
	}
	debs = dir
	code := m.Run()
	_ = os.RemoveAll(dir) // it is in the folder for such things
	os.Exit(code)
}

// put copies the Debian package to a machine, as rota.deb in the home of root.
func (r *reader) put(host string) {
	r.t.Helper()
	path, err := deb()
	require.NoError(r.t, err)
	data, err := os.ReadFile(path)
	require.NoError(r.t, err)
	require.NoError(r.t, os.WriteFile(r.lan.Machine(host).Path("/root/rota.deb"), data, 0o644))
}

// block is a block of commands of the page.
type block struct {
	chapter, where, text string
}

// first is its first command.
func (b block) first() string {
	line, _, _ := strings.Cut(strings.TrimSpace(b.text), "\n")
	return line
}

// where begins a block.
var where = regexp.MustCompile(`^# On (.*):$`)

// blocks returns the blocks of the page that are marked sh, in their order.
func blocks(t *testing.T) (out []block) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(repository, "docs", "operations.md"))
	require.NoError(t, err)
	chapter, inside, shell := "", false, false
	for line := range strings.Lines(string(data)) {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && inside:
			inside = false
		case isFence:
			inside, shell = true, strings.TrimSpace(fence) == "sh"
			if shell {
				out = append(out, block{chapter: chapter})
			}
		case inside && shell:
			b := &out[len(out)-1]
			if b.where == "" {
				m := where.FindStringSubmatch(strings.TrimSpace(line))
				require.NotNil(t, m, "a block of %q does not begin with where it runs (# On a.example:): %s", chapter, line)
				b.where = m[1]
				continue
			}
			b.text += line
		case !inside && strings.HasPrefix(line, "## "):
			chapter = strings.TrimSpace(line[3:])
		}
	}
	return out
}

// servers, workers, spare and admin are the machines that the page speaks of.
var (
	servers = []string{"a.example", "b.example", "c.example"}
	workers = []string{"w1.example", "w2.example"}
)

const (
	spare = "d.example"
	admin = "admin.example"
)

// reader is somebody who does what the page says.
type reader struct {
	t   *testing.T
	lan *machines.LAN
}

// hosts are the machines that the first line of a block means.
func (r *reader) hosts(where string) []string {
	r.t.Helper()
	switch where {
	case "the admin's machine":
		return []string{admin}
	case "each server":
		return servers
	case "each worker":
		return workers
	}
	require.Regexp(r.t, `^[a-z0-9]+\.example$`, where, "the page names a place that this test does not know")
	return []string{where}
}

// run runs commands on a machine, after what was run there before: exported variables stay. It returns what they printed and
// whether all of them succeeded.
func (r *reader) run(host, text string) (string, error) {
	// Each command must succeed, also in a pipe.
	script := "cd; [ ! -f .exported ] || . ./.exported\nset -eo pipefail\n" + text + "\nexport -p >.exported\n"
	out, err := r.lan.Machine(host).Command("bash", "--noprofile", "--norc", "-c", script).CombinedOutput()
	return string(out), err
}

// do runs a block, which must succeed, and returns what it printed, of all machines.
func (r *reader) do(b block) string {
	r.t.Helper()
	var all strings.Builder
	for _, host := range r.hosts(b.where) {
		out, err := r.run(host, b.text)
		require.NoError(r.t, err, "on %s:\n%s\n%s", host, b.text, out)
		all.WriteString(out)
	}
	return all.String()
}

// eventually runs commands on a machine until they succeed and print what matches a pattern.
func (r *reader) eventually(host, text, pattern string) string {
	r.t.Helper()
	want := regexp.MustCompile("(?m)" + pattern)
	var out string
	var err error
	for end := time.Now().Add(within); ; time.Sleep(pollEvery) {
		if out, err = r.run(host, text); err == nil && want.MatchString(out) {
			return out
		}
		if time.Now().After(end) {
			require.FailNow(r.t, fmt.Sprintf("%s never printed %q", text, pattern), "%v\n%s", err, out)
		}
	}
}

// Each block of the page belongs to a chapter that runs it.
func TestNoCommandOfThePageIsForgotten(t *testing.T) {
	t.Parallel()
	counts := map[string]int{}
	for _, b := range blocks(t) {
		counts[b.chapter]++
	}
	for _, c := range chapters {
		require.Len(t, c.steps, counts[c.title], "the chapter %q has other blocks: say in chapters_test.go what must come of each", c.title)
		delete(counts, c.title)
	}
	require.Empty(t, counts, "no chapter of chapters_test.go runs these blocks")
}

func TestThePageRunsAsWritten(t *testing.T) {
	t.Parallel()
	program.DependOnSources(t)
	all := append(append([]string{spare, admin}, servers...), workers...)
	r := &reader{t: t, lan: machines.New(t, machines.Config{Boot: true}, all...)}
	r.put(admin)
	b := newBridge()
	defer r.lan.Capture(b.frame)()
	page := blocks(t)
	for _, c := range chapters {
		done := t.Run(c.title, func(t *testing.T) {
			r := &reader{t, r.lan}
			if c.before != nil {
				c.before(r)
			}
			steps := c.steps
			for _, b := range page {
				if b.chapter != c.title {
					continue
				}
				require.NotEmpty(t, steps)
				require.Equal(t, steps[0].first, b.first(), "the page has changed: say in chapters_test.go what must come of it")
				out := r.do(b)
				if steps[0].check != nil {
					steps[0].check(r, out)
				}
				steps = steps[1:]
			}
			if c.after != nil {
				c.after(r)
			}
		})
		if !done {
			return // the chapters behind it build on it
		}
	}
	r.requireNothingLearned(b)
}
