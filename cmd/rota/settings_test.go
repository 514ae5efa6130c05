package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// settingFlags returns flags as a verb has them. The environment can set one of them.
func settingFlags(t *testing.T, args ...string) (*pflag.FlagSet, *string, *[]string) {
	t.Helper()
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	addr := f.String("addr", defaultAddr, "")
	join := f.StringSlice("join", []string{"default"}, "")
	f.Int("bootstrap-expect", 0, "")
	fromEnv(f, "addr", "ROTA_ADDR")
	require.NoError(t, f.Parse(args))
	return f, addr, join
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rota.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestFlagsGoBeforeTheEnvironmentBeforeTheFileBeforeDefaults(t *testing.T) {
	t.Parallel()
	env := func(set string) func(string) string {
		return func(k string) string {
			if k == "ROTA_ADDR" {
				return set
			}
			return ""
		}
	}
	path := writeFile(t, "addr: file:1\njoin: [a:1, b:1]\n")
	for _, c := range []struct {
		name, env, want string
		args            []string
		file            bool
	}{
		{"flag", "env:1", "flag:1", []string{"--addr", "flag:1"}, true},
		{"environment", "env:1", "env:1", nil, true},
		{"file", "", "file:1", nil, true},
		{"default", "", defaultAddr, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, addr, join := settingFlags(t, c.args...)
			var file *configFile
			wantJoin := []string{"default"}
			if c.file {
				var err error
				file, err = readConfig(path, "rota server start", f)
				require.NoError(t, err)
				wantJoin = []string{"a:1", "b:1"}
			}
			require.NoError(t, settle(f, file, env(c.env)))
			require.Equal(t, c.want, *addr)
			require.Equal(t, wantJoin, *join)
		})
	}
}

func TestMalformedConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	for text, why := range map[string]string{
		"adr: x\n":              `line 1: unknown key "adr"`,
		"addr: x\naddr: y\n":    `"addr" is given twice`,
		"addr:\n  a: 1\n":       `line 2: "addr" must have a value`,
		"addr:\n":               `line 1: "addr" must have a value`,
		"- addr\n":              "line 1: expected keys and values",
		"addr: [x\n":            "is not YAML",
		"addr: x\n\tjoin: y":    "is not YAML",
		"config: other\n":       `unknown key "config"`,
		"bootstrap-expect: 3\n": "",
		"":                      "",
		"# nothing\n":           "",
	} {
		f, _, _ := settingFlags(t)
		_, err := readConfig(writeFile(t, text), "rota server start", f)
		if why == "" {
			require.NoError(t, err, text)
			continue
		}
		require.ErrorContains(t, err, why, text)
		require.Equal(t, exitUsage, exitCode(err), text)
	}
	f, _, _ := settingFlags(t)
	file, err := readConfig(writeFile(t, "bootstrap-expect: three\n"), "rota server start", f)
	require.NoError(t, err)
	require.ErrorContains(t, settle(f, file, func(string) string { return "" }), "line 1: bootstrap-expect: ")
}

// processSets returns flags as a server and a worker have them.
func processSets() []process {
	server := pflag.NewFlagSet(serverSection, pflag.ContinueOnError)
	server.String("addr", "", "")
	server.String("node-id", "", "")
	server.StringSlice("join", nil, "")
	server.String("data-dir", "", "")
	worker := pflag.NewFlagSet(workerSection, pflag.ContinueOnError)
	worker.StringSlice("addr", nil, "")
	worker.Int("slots", 0, "")
	worker.String("data-dir", "", "")
	for _, f := range []*pflag.FlagSet{server, worker} {
		f.String("config", "", "")
		f.String("log-level", "info", "")
	}
	return []process{{serverSection, server}, {workerSection, worker}}
}

// noEnv is an environment without variables.
func noEnv(string) string { return "" }

func TestSectionsGoBeforeTheTop(t *testing.T) {
	t.Parallel()
	path := writeFile(t, "log-level: warn\nworker:\n  log-level: debug\n  slots: 2\n  addr: s:1\nserver:\n  addr: s:1\n  join: []\n")
	file, err := readProcessFile(path, processSets())
	require.NoError(t, err)
	require.Equal(t, []string{workerSection, serverSection}, file.has())
	all := processSets()
	for _, p := range all {
		require.NoError(t, settle(p.flags, file.forProcess(p.name), noEnv))
	}
	server, worker := all[0].flags, all[1].flags
	require.Equal(t, "warn", server.Lookup("log-level").Value.String())
	require.Equal(t, "debug", worker.Lookup("log-level").Value.String())
	require.Equal(t, "2", worker.Lookup("slots").Value.String())
	require.Equal(t, source{fromFile, path, 1}, sourceOf(server.Lookup("log-level")))
	require.Equal(t, source{fromFile, path, 3}, sourceOf(worker.Lookup("log-level")))
	require.Equal(t, source{from: fromDefault}, sourceOf(server.Lookup("node-id")))
}

// A flat file is for whatever process reads it.
func TestAFileWithoutSectionsIsForEachProcess(t *testing.T) {
	t.Parallel()
	file, err := readProcessFile(writeFile(t, "addr: s:1\nnode-id: n1\nslots: 3\n"), processSets())
	require.NoError(t, err)
	require.Empty(t, file.has())
	all := processSets()
	for _, p := range all {
		require.NoError(t, settle(p.flags, file.forProcess(p.name), noEnv))
		require.Equal(t, []string{"s:1"}, valuesOf(p.flags.Lookup("addr")))
	}
	require.Equal(t, "n1", all[0].flags.Lookup("node-id").Value.String())
	require.Equal(t, "3", all[1].flags.Lookup("slots").Value.String())
}

func TestMistakesInAFileForProcesses(t *testing.T) {
	t.Parallel()
	for text, why := range map[string]string{
		"node_id: n1\n":                                       `line 1: unknown key "node_id": keys are the names of the flags of rota server start and rota worker start, and their sections server: and worker:; did you mean "node-id"?`,
		"sever:\n  node-id: n1\n":                             `did you mean "server"?`,
		"server:\n  nodeid: n1\n":                             `line 2: unknown key "nodeid": keys below server: are the names of the flags of rota server start; did you mean "node-id"?`,
		"server:\n  slots: 1\n":                               `line 2: "slots" is a key of the worker: put it below worker:`,
		"addr: x\nserver:\n  node-id: n1\n":                   `line 1: "addr" does not mean the same to each process: put it below server: or worker:`,
		"data-dir: x\nworker:\n  slots: 1\n":                  `line 1: "data-dir" does not mean the same`,
		"server: n1\n":                                        "line 1: expected keys and values below server:",
		"server:\n  node-id: a\nserver:\n  node-id: b\n":      `line 3: "server" is given twice`,
		"server:\n  node-id: a\n  node-id: b\n":               `line 3: "node-id" is given twice`,
		"server:\n  node-id: &a n1\nworker:\n  addr: *a\n":    `line 4: "addr" must have a value`,
		"server: &s\n  node-id: a\nworker:\n  <<: *s\n":       `line 4: unknown key "<<"`,
		"server:\n  config: x\n":                              `line 2: unknown key "config"`,
		"node-id: a\n---\nnode-id: b\n":                       "more than one document",
		"server:\nworker:\n":                                  "",
		"# " + strings.Repeat("x", maxConfigBytes):            "it is no configuration file",
		"server:\n  node-id: n1\nworker: {slots: 1}\n# end\n": "",
	} {
		_, err := readProcessFile(writeFile(t, text), processSets())
		if why == "" {
			require.NoError(t, err, text)
			continue
		}
		require.ErrorContains(t, err, why, text)
		require.Equal(t, exitUsage, exitCode(err), text)
	}
}

func TestAllMistakesOfAFileAreFound(t *testing.T) {
	t.Parallel()
	_, err := readProcessFile(writeFile(t, "x: 1\nserver:\n  y: 2\nworker:\n  z: 3\n"), processSets())
	var all mistakes
	require.ErrorAs(t, err, &all)
	require.Len(t, all, 3)
	require.ErrorContains(t, err, "(and 2 more mistakes)")
}

// The last one of a list was taken for the value.
func TestAListForOneValueIsRefused(t *testing.T) {
	t.Parallel()
	path := writeFile(t, "server:\n  node-id: [a, b]\n  join: [x:1, y:1]\nworker:\n  addr: [x:1, y:1]\n")
	all := processSets()
	var addr string
	worker := pflag.NewFlagSet(workerSection, pflag.ContinueOnError)
	worker.Var(newCommaList(&addr, defaultAddr), "addr", "")
	all[1].flags = worker
	file, err := readProcessFile(path, all)
	require.NoError(t, err)
	require.ErrorContains(t, settle(all[0].flags, file.forProcess(serverSection), noEnv), `line 2: "node-id" has one value`)
	require.NoError(t, settle(worker, file.forProcess(workerSection), noEnv))
	require.Equal(t, "x:1,y:1", addr)
	require.Equal(t, []string{"x:1", "y:1"}, valuesOf(worker.Lookup("addr")))
}

// A second document was skipped without a word.
func TestASecondDocumentIsRefused(t *testing.T) {
	t.Parallel()
	f, _, _ := settingFlags(t)
	_, err := readConfig(writeFile(t, "addr: x\n---\njoin: [y]\n"), "rota server start", f)
	require.ErrorContains(t, err, "more than one document")
}

func TestPathsOfAFileAreRelativeToIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "rota.yaml")
	for text, want := range map[string]string{
		"data-dir: data\n": filepath.Join(dir, "data"), "data-dir: /srv/data\n": "/srv/data", `data-dir: ""`: "",
	} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		f := pflag.NewFlagSet("test", pflag.ContinueOnError)
		got := f.String("data-dir", "", "")
		isPath(f, "data-dir")
		file, err := readConfig(path, "rota server start", f)
		require.NoError(t, err)
		require.NoError(t, settle(f, file, noEnv))
		require.Equal(t, want, *got)
	}
}

// Whoever gives server and worker a flag of one name says here whether it means the same to both.
func TestEveryKeyOfBothProcessesHasOneMeaning(t *testing.T) {
	t.Parallel()
	same := []string{"config", "log-level", "log-format", "tls-ca", "tls-cert", "tls-key", "insecure"}
	all := (&app{env: noEnv}).processes()
	all[0].flags.VisitAll(func(flag *pflag.Flag) {
		if all[1].flags.Lookup(flag.Name) == nil {
			return
		}
		require.NotEqual(t, slices.Contains(same, flag.Name), slices.Contains(ownKeys, flag.Name),
			"server and worker both have --%s: if it means the same to both, add it to this test, else to ownKeys", flag.Name)
	})
}
