package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// repository is the folder of the README.
var repository = filepath.Join("..", "..", "..")

// exceptions has the blocks of the README that this test does not run, by their first words, and why.
var exceptions = map[string]string{
	"make demo":        "TestDemoLeavesNothing takes the tour, and make test runs this test",
	"4  The sha256 of": "what the tour prints",
}

// block is a block of shell commands of a text.
type block struct{ section, text string }

// blocks returns the blocks that have no mark of another language.
func blocks(t *testing.T, path string) (out []block) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	section, inside, shell := "", false, false
	for line := range strings.Lines(string(data)) {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && inside:
			inside = false
		case isFence:
			inside, shell = true, strings.TrimSpace(fence) == ""
			if shell {
				out = append(out, block{section: section})
			}
		case inside && shell:
			out[len(out)-1].text += line
		case !inside && strings.HasPrefix(line, "## "):
			section = strings.TrimSpace(line[3:])
		}
	}
	return out
}

var comment = regexp.MustCompile(`\s+#.*`)

// commandsOf returns the commands of blocks, each by itself.
func commandsOf(list []block) (out []string) {
	for _, b := range list {
		for _, line := range commandLines(b.text) {
			out = append(out, strings.Split(comment.ReplaceAllString(line, ""), "; ")...)
		}
	}
	return out
}

// Every block of shell commands is run by a test below, or is an exception.
func TestNoCommandOfTheReadmeIsForgotten(t *testing.T) {
	t.Parallel()
	var run int
	met := map[string]bool{}
	for _, b := range blocks(t, filepath.Join(repository, "README.md")) {
		switch b.section {
		case sectionInstall, sectionJob, sectionMore, sectionCluster:
			run++
			continue
		}
		known := false
		for begin := range exceptions {
			if strings.HasPrefix(b.text, begin) {
				known, met[begin] = true, true
			}
		}
		require.True(t, known, "a block of %q is run by no test:\n%s", b.section, b.text)
	}
	require.Equal(t, 4, run)
	require.Len(t, met, len(exceptions))
}

// The sections of the README whose commands are run.
const (
	sectionInstall = "Install"
	sectionJob     = "A job in three lines"
	sectionMore    = "More commands"
	sectionCluster = "A cluster of three"
)

// readme returns the commands of some sections.
func readme(t *testing.T, sections ...string) []string {
	t.Helper()
	var own []block
	for _, b := range blocks(t, filepath.Join(repository, "README.md")) {
		if slices.Contains(sections, b.section) {
			own = append(own, b)
		}
	}
	return commandsOf(own)
}

// step is a command of the README and what must come of it.
type step struct {
	// command is as the README has it.
	command string
	// run runs it. It replaces what is only an example in the README by what exists here.
	run func(s *shell, command string)
}

// prints runs a command that must succeed and print what matches a pattern.
func prints(pattern string) func(s *shell, command string) {
	return func(s *shell, command string) {
		s.t.Helper()
		require.Regexp(s.t, regexp.MustCompile("(?m)"+pattern), s.ok(command), command)
	}
}

// soon runs a command until it succeeds and its output matches a pattern. It is for commands that print the
// state of the moment: on a busy machine there may be no leader at that moment.
func soon(pattern string) func(s *shell, command string) {
	return func(s *shell, command string) {
		s.t.Helper()
		s.eventually(command, pattern)
	}
}

// clone makes a folder that stands for a clone of this repository. go install there puts the binary under
// test where Go would put it.
func clone(t *testing.T) *shell {
	t.Helper()
	list := exec.Command("go", "list", "-f", "{{.Name}} {{.Target}}", "./cmd/rota")
	list.Dir = repository
	target, err := list.CombinedOutput()
	require.NoError(t, err, string(target))
	require.Regexp(t, `^main /.*/rota\n$`, string(target))
	tools := t.TempDir()
	s := newShell(t, "PATH="+tools+":"+os.Getenv("PATH"))
	s.write(filepath.Join(tools, "go"), `#!/bin/sh
case "$*" in
"env GOPATH") echo "$HOME/go" ;;
"install ./cmd/rota") mkdir -p "$HOME/go/bin" && ln -s '`+binary+`' "$HOME/go/bin/rota" ;;
*) exit 1 ;;
esac
`)
	for _, dir := range []string{"client", "task"} {
		require.NoError(t, os.CopyFS(filepath.Join(s.dir, dir), os.DirFS(filepath.Join(repository, dir))))
	}
	return s
}

// submitted runs a submit of the README and returns the id that it prints.
func (s *shell) submitted(command string) string {
	s.t.Helper()
	out := s.ok(command)
	require.Regexp(s.t, `^[0-9]+\n$`, out, command)
	return strings.TrimSpace(out)
}

// The commands of the README work as they are written, in their order, and print what the README
// says.
func TestTheReadmesJobRunsAsWritten(t *testing.T) {
	t.Parallel()
	s := clone(t)
	var dev *background
	var failed string
	steps := []step{
		{"go install ./cmd/rota && export PATH=$(go env GOPATH)/bin:$PATH", func(s *shell, command string) {
			s.ok(command)
			require.Equal(t, filepath.Join(s.dir, "go", "bin", "rota")+"\n", s.ok("command -v rota"))
		}},
		{"rota dev --nodes 3 --workers 3 &", func(s *shell, command string) {
			dev = s.start(strings.TrimSuffix(command, " &"))
			dev.says("The cluster is ready")
		}},
		{"export ROTA_ADDR=127.0.0.1:7420,127.0.0.1:7430,127.0.0.1:7440", func(s *shell, command string) {
			require.Contains(t, dev.said(), "\n"+command+"\n", "rota dev has other addresses")
			s.ok(command)
		}},
		{"find . -name '*.go' | rota map --cwd . -- sha256sum {}", func(s *shell, command string) {
			want := s.ok("find . -name '*.go' | xargs sha256sum")
			require.Greater(t, strings.Count(want, "\n"), 20)
			require.Equal(t, want, s.ok(command))
		}},
		{"rota run -- sh -c 'echo hello from $ROTA_JOB_ID'", prints(`^hello from [0-9]+$`)},
		{"rota submit --array 0-999,2000 --retries 2 --timeout 30s -- sh -c 'echo $((ROTA_TASK_VALUE * ROTA_TASK_VALUE))'",
			func(s *shell, command string) {
				id := s.submitted(command)
				out := s.ok("rota job results --raw " + id)
				require.Equal(t, 1001, strings.Count(out, "\n"))
				require.Contains(t, out, "\n998001\n4000000\n")
			}},
		{"rota submit --serial --key nightly-2026-11-22 --cwd /srv/app -- ./migrate.sh", func(s *shell, command string) {
			s.put("app/migrate.sh", "#!/bin/sh\necho migrated\n")
			command = strings.Replace(command, "/srv/app", "app", 1)
			id := s.submitted(command)
			require.Equal(t, id, s.submitted(command), "sent again, it is still one job")
			require.Equal(t, "migrated\n", s.ok("rota job results --raw "+id))
		}},
		{"rota job logs -f last", prints(`^migrated$`)},
		{"rota job list", prints(`^[0-9]+ .* succeeded `)},
		{"rota job wait last", prints(`^State +succeeded$`)},
		{"rota job results 42 -o jsonl", func(s *shell, command string) {
			failed = s.submitted("rota submit --retries 0 --array 1-3 -- sh -c 'exit $((ROTA_TASK_VALUE - 1))'")
			prints(`^\{"job":[0-9]+,"task":1,"state":"failed",`)(s, strings.Replace(command, "42", failed, 1))
		}},
		{"rota job retry 42", func(s *shell, command string) {
			again := s.submitted(strings.Replace(command, "42", failed, 1))
			require.NotEqual(t, failed, again)
			require.Contains(t, s.ok("rota job get -o json "+again), `"retry_of": `+failed)
		}},
		{"rota job cancel 43-45", func(s *shell, command string) {
			var ids []string
			for range 3 {
				ids = append(ids, s.submitted("rota submit --delay 1h -- true"))
			}
			out := s.ok(strings.Replace(command, "43-45", ids[0]+"-"+ids[2], 1))
			require.Equal(t, 3, strings.Count(out, ": 1 task cancelled"), out)
		}},
		{"rota cluster status", soon(`^Leader n[123], term [0-9]+, .*: 3 of 3$`)},
		{"rota cluster verify", func(s *shell, command string) {
			digests := map[string]bool{}
			digest := `^n[123] +[0-9]+ +([0-9a-f]{16})`
			out := s.eventually(command, digest)
			lines := regexp.MustCompile("(?m)"+digest).FindAllStringSubmatch(out, -1)
			for _, l := range lines {
				digests[l[1]] = true
			}
			require.Len(t, lines, 3)
			require.Len(t, digests, 1)
		}},
		{"rota cluster transfer-leader n2", func(s *shell, command string) {
			s.eventually("rota cluster transfer-leader n1", "^n1 leads")
			soon(`^n2 leads in term [0-9]+$`)(s, command)
		}},
	}
	commands := readme(t, sectionInstall, sectionJob, sectionMore)
	for i, step := range steps {
		require.Less(t, i, len(commands))
		require.Equal(t, step.command, commands[i], "the README has changed: say here what must come of it")
		step.run(s, step.command)
	}
	require.Len(t, commands, len(steps), "a command of the README is not run")
	dev.end()
}

// Three servers and a worker that are started as the README says are a cluster.
func TestTheReadmesClusterIsOne(t *testing.T) {
	t.Parallel()
	commands := readme(t, sectionCluster)
	require.Len(t, commands, 2)
	s := newShell(t)
	s.ok("ln -s '" + binary + "' rota; export PATH=$PWD:$PATH")
	var servers []*background
	for _, command := range three(strings.Replace(commands[0], "/var/lib/rota", "lib", 1)) {
		servers = append(servers, s.start(command))
	}
	s.eventually("rota cluster status", "servers that answer: 3 of 3$")
	worker := s.start(commands[1])
	s.eventually("rota worker list", "w1")
	prints(`^hello from w1$`)(s, "rota run -- echo hello from w1")
	for i, port := range []int{7422, 7432, 7442} {
		for _, path := range []string{"/livez", "/readyz", "/metrics"} {
			s.eventually(fmt.Sprintf(`exec 9<>/dev/tcp/127.0.0.1/%d; printf 'GET %s HTTP/1.0\r\n\r\n' >&9; cat <&9`, port, path), " 200 OK")
		}
		require.Contains(t, servers[i].said(), "serving")
	}
	worker.end()
	for _, server := range servers {
		server.end()
	}
}
