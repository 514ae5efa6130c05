package main

import (
	"os"
	"path/filepath"
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
