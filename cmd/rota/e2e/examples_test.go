package e2e

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/cmd/rota/e2e/program"
)

// help returns what --help prints for a verb, or for a group of verbs.
func help(t *testing.T, path []string) string {
	t.Helper()
	out, err := exec.Command(binary, append(slices.Clone(path), "--help")...).Output()
	require.NoError(t, err)
	return string(out)
}

// paragraph returns the text under a heading of a help text.
func paragraph(text, heading string) string {
	_, text, _ = strings.Cut(text, "\n"+heading+":\n")
	var out strings.Builder
	for line := range strings.Lines(text) {
		if line != "\n" && !strings.HasPrefix(line, " ") {
			break // the next heading
		}
		out.WriteString(line)
	}
	return out.String()
}

// examples returns the examples of all verbs, by their names, as --help prints them.
func examples(t *testing.T, path ...string) map[string][]string {
	t.Helper()
	text := help(t, path)
	verbs := paragraph(text, "Available Commands")
	if verbs == "" {
		return map[string][]string{strings.Join(path, " "): commandLines(paragraph(text, "Examples"))}
	}
	all := map[string][]string{}
	for line := range strings.Lines(verbs) {
		if words := strings.Fields(line); len(words) > 0 {
			maps.Copy(all, examples(t, append(slices.Clone(path), words[0])...))
		}
	}
	return all
}

func TestEveryVerbHasAnExample(t *testing.T) {
	t.Parallel()
	program.DependOnSources(t)
	all := examples(t)
	require.Greater(t, len(all), 20)
	for verb, lines := range all {
		require.NotEmpty(t, lines, "rota %s --help has no example", verb)
		for _, line := range lines {
			require.Contains(t, line, "rota "+verb, "an example of rota %s is of another verb", verb)
		}
	}
}

// job submits the same job several times and returns the first id. The other ids follow it.
func (s *shell) job(times int, flags string) (first int) {
	s.t.Helper()
	for i := range times {
		id, err := strconv.Atoi(s.submitted("rota submit " + flags))
		require.NoError(s.t, err)
		if i == 0 {
			first = id
		}
		require.Equal(s.t, first+i, id)
	}
	return first
}

// prepare makes what the examples of a verb need, and returns which ids to use instead of theirs.
var prepare = map[string]func(s *shell) []string{
	"events": func(s *shell) []string {
		s.ok("rota run --queue reports -- echo done")
		return nil
	},
	"job cancel": func(s *shell) []string {
		first := s.job(12, "--queue nightly --array 0-7 --delay 1h -- true")
		return []string{"1-10,15", fmt.Sprintf("%d-%d,%d", first, first+9, first+11), "42", strconv.Itoa(first + 10)}
	},
	"job get": func(s *shell) []string {
		return []string{"42", strconv.Itoa(s.job(1, "--array 0-7 -- true"))}
	},
	"job logs": func(s *shell) []string {
		return []string{"42", strconv.Itoa(s.job(1, "--array 0-7 -- sh -c 'echo done; echo done >&2'"))}
	},
	"job results": func(s *shell) []string {
		return []string{"42", strconv.Itoa(s.job(1, "-- echo done"))}
	},
	// A job that has failed, and whose tasks succeed when somebody retries them.
	"job retry": func(s *shell) []string {
		s.ok("rm -f mended")
		first := s.job(1, "--retries 0 --cwd . -- ls mended")
		require.Equal(s.t, 3, s.run("rota job wait last").code)
		s.put("mended", "")
		return []string{"42", strconv.Itoa(first)}
	},
	"job wait": func(s *shell) []string {
		first := s.job(3, "-- true")
		return []string{"40-42", fmt.Sprintf("%d-%d", first, first+2), "42", strconv.Itoa(first + 2)}
	},
	"map": func(s *shell) []string {
		s.put("a.go", "package a\n")
		return nil
	},
	"run": func(s *shell) []string {
		s.put("data.csv", "b,2\na,1\n")
		return nil
	},
	"submit": func(s *shell) []string {
		s.put("backup.sh", "#!/bin/sh\necho saved\n")
		return nil
	},
	"completion fish": func(s *shell) []string {
		s.ok("mkdir -p ~/.config/fish/completions")
		return nil
	},
	"cluster add":     withFourth,
	"cluster promote": withFourth,
	"cluster demote":  withFourth,
	"cluster remove":  withFourth,
	"server start":    func(s *shell) []string { return append(withConfig(s), "/var/lib/rota", "lib") },
	"worker start":    withConfig,
	"config check":    withConfig,
	"config show":     withConfig,
	"tls cert":        withCA,
	"tls show":        withCA,
	"login":           withContext,
	"whoami":          withContext,
	"context list":    withContext,
	"context use":     withContext,
	"context remove":  withContext,
	"token revoke": func(s *shell) []string {
		id := regexp.MustCompile(`"id": "([0-9a-f]+)"`).FindStringSubmatch(s.ok("rota token create --role read --name unused -o json"))
		require.Len(s.t, id, 2)
		return []string{"revoke ci", "revoke unused", "3f9a2b41c07d", id[1]}
	},
	"cluster snapshot save":    func(s *shell) []string { s.ok("mkdir -p backups"); return []string{"/var/backups/rota/", "backups/"} },
	"cluster snapshot inspect": withBackup,
	"cluster snapshot restore": withBackup,
	"cluster compact":          withStopped,
	"cluster recover":          withStopped,
}

// withFourth starts the server that examples add and remove, unless it is there.
func withFourth(s *shell) []string {
	if !strings.Contains(s.run("rota cluster status").stdout, "\nn4 ") {
		s.start("rota server start --node-id n4 --data-dir n4 --addr 127.0.0.1:7450 --peer-addr 127.0.0.1:7451 --http-addr 127.0.0.1:7452 --join 127.0.0.1:7420")
		s.eventually("rota cluster status", "^n4 ")
	}
	return nil
}

// withConfig makes the configuration file that examples use.
func withConfig(s *shell) []string {
	s.put("rota.yaml", "server: {node-id: n1, data-dir: configured, bootstrap-expect: 1}\nworker: {label: [disk=ssd], slots: 2}\n")
	return []string{"/etc/rota/rota.yaml", "rota.yaml"}
}

// withContext makes the context that examples use. The cluster of the examples asks nobody for credentials.
func withContext(s *shell) []string {
	s.ok("rota login prod --addr 127.0.0.1:7420")
	return []string{
		"a.example:7420,b.example:7420", "127.0.0.1:7420", "a.example:7420", "127.0.0.1:7420",
		" --tls-ca ca.crt", "", " --tls-cert admin.crt --tls-key admin.key", "",
	}
}

// withCA makes the CA that examples use.
func withCA(s *shell) []string {
	s.ok("test -d tls/ca || rota tls ca")
	return nil
}

// withBackup makes the backup that examples use.
func withBackup(s *shell) []string {
	s.ok("rota cluster snapshot save rota.backup; rm -rf restored")
	return nil
}

// withStopped makes the data folder of a server that does not run.
func withStopped(s *shell) []string {
	withBackup(s)
	s.ok("rota cluster snapshot restore rota.backup --data-dir stopped/$$ --node-id n1 && rm -rf lib && mv stopped/* lib && rm -rf lib.new")
	return []string{"/var/lib/rota", "lib"}
}

// started has the verbs that run until they are asked to end. It runs their examples and waits until they
// serve. The examples of all other verbs end by themselves.
var started = map[string]func(s *shell, line string) []*background{
	"dev": func(s *shell, line string) []*background {
		dev := s.start(line)
		dev.says("The cluster is ready")
		return []*background{dev}
	},
	"worker start": func(s *shell, line string) []*background {
		worker := s.start(line)
		s.eventually("rota run --require disk=ssd -- echo served", "served")
		return []*background{worker}
	},
	"server start": func(s *shell, line string) (servers []*background) {
		lines := []string{line}
		if strings.Contains(line, "--bootstrap-expect 3") {
			lines = three(line)
		}
		for _, line := range lines {
			servers = append(servers, s.start(line))
		}
		s.eventually("rota cluster verify -o json", `"ok": true`)
		s.eventually("rota cluster status", fmt.Sprintf("answer: %d of %d", len(lines), len(lines)))
		return servers
	},
}

// withRota is the environment of shells whose rota is the one under test.
func withRota(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Symlink(binary, filepath.Join(dir, "rota")))
	return "PATH=" + dir + ":" + os.Getenv("PATH")
}

// quiet has the examples that print nothing if they succeed.
var quiet = regexp.MustCompile(`>|^source |--stdout file:|^rota (login|context use|context remove|token revoke) `)

// Every example of --help works as it is written. The test only makes what the example needs, and uses ids
// of jobs that exist.
func TestExamplesOfHelpRunAsWritten(t *testing.T) {
	t.Parallel()
	all := examples(t)
	// Servers use the default ports, so each example needs a network of its own.
	for _, line := range all["server start"] {
		t.Run("server start", func(t *testing.T) { newShell(t, withRota(t)).example("server start", line) })
	}
	delete(all, "server start")
	t.Run("on a cluster", func(t *testing.T) {
		s := newShell(t, withRota(t))
		require.Len(t, all["dev"], 1)
		dev := started["dev"](s, all["dev"][0])[0]
		delete(all, "dev")
		for _, verb := range slices.Sorted(maps.Keys(all)) {
			for _, line := range all[verb] {
				s.example(verb, line)
			}
		}
		dev.end()
	})
}

// example runs an example of a verb.
func (s *shell) example(verb, line string) {
	s.t.Helper()
	s.t.Log(line)
	if f := prepare[verb]; f != nil {
		line = strings.NewReplacer(f(s)...).Replace(line)
	}
	if f := started[verb]; f != nil {
		for _, b := range f(s, line) {
			b.end()
		}
		return
	}
	if strings.HasPrefix(verb, "cluster ") && prepare[verb] == nil {
		// These print the state of the moment, and at that moment there may be no leader.
		s.eventually(line, ".")
		return
	}
	if out := s.ok(line); !quiet.MatchString(line) {
		require.NotEmpty(s.t, out, line)
	}
}
