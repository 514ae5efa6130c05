package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/rota-scheduler/rota/server"
)

// deployed is the folder of what packages and containers are made of.
var deployed = filepath.Join("..", "..", "deploy")

// documents reads all documents of a YAML file.
func documents(t *testing.T, path string) (all []map[string]any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(deployed, path))
	require.NoError(t, err)
	for dec := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var doc map[string]any
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err, path)
		all = append(all, doc)
	}
}

// at returns what is below keys of a document.
func at(t *testing.T, doc any, keys ...string) any {
	t.Helper()
	for _, key := range keys {
		m, ok := doc.(map[string]any)
		require.True(t, ok, "%v has no %s", doc, key)
		require.Contains(t, m, key)
		doc = m[key]
	}
	return doc
}

// texts are the elements of a list of texts.
func texts(t *testing.T, list any) (out []string) {
	t.Helper()
	for _, v := range list.([]any) {
		text, ok := v.(string)
		require.True(t, ok, "%v is no text", v)
		out = append(out, text)
	}
	return out
}

// requireStarts checks that a command line is one that rota takes, and returns its flags.
func requireStarts(t *testing.T, args []string) *pflag.FlagSet {
	t.Helper()
	require.GreaterOrEqual(t, len(args), 2)
	require.Equal(t, "start", args[1])
	for _, s := range (&app{env: noEnv}).subjects() {
		if s.name == args[0] {
			require.NoError(t, s.flags.Parse(args[2:]), "%q", args)
			require.Empty(t, s.flags.Args(), "%q", args)
			return s.flags
		}
	}
	require.Fail(t, "no such process", "%q", args)
	return nil
}

func TestTheServicesOfComposeStart(t *testing.T) {
	t.Parallel()
	services := at(t, documents(t, "docker/compose.yaml")[0], "services").(map[string]any)
	require.Len(t, services, 4)
	for name, s := range services {
		flags := requireStarts(t, texts(t, at(t, s, "command")))
		require.Equal(t, "/etc/rota/rota.yaml", flags.Lookup("config").Value.String())
		require.Contains(t, texts(t, at(t, s, "volumes")), "../../tls/"+name+":/etc/rota:ro", "rota tls init makes this folder")
	}
}

func TestThePodsOfKubernetesStart(t *testing.T) {
	t.Parallel()
	kinds := map[string]any{}
	for _, doc := range documents(t, "kubernetes/rota.yaml") {
		kinds[doc["kind"].(string)] = doc
	}
	ports := map[string]int{}
	for _, p := range at(t, kinds["Service"], "spec", "ports").([]any) {
		ports[at(t, p, "name").(string)] = at(t, p, "port").(int)
	}
	require.Equal(t, map[string]int{"grpc": 7420, "raft": 7421, "http": 7422}, ports)
	service := at(t, kinds["Service"], "metadata", "name").(string)
	set := kinds["StatefulSet"]
	require.Equal(t, service, at(t, set, "spec", "serviceName"))
	pod := at(t, set, "metadata", "name").(string) + "-1"

	s := (&app{env: noEnv}).subjects()[0]
	args := texts(t, at(t, at(t, set, "spec", "template", "spec", "containers").([]any)[0], "args"))
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "$(POD_NAME)", pod)
	}
	flags := requireStarts(t, args)
	require.NoError(t, s.flags.Parse(args[2:]))
	_, err := s.check()
	require.ErrorContains(t, err, "/etc/rota/ca.crt", "only the certificates are missing")
	join, err := flags.GetStringSlice("join")
	require.NoError(t, err)
	require.Len(t, join, at(t, set, "spec", "replicas").(int))
	use, err := server.Advertised(
		server.Addrs{GRPC: flags.Lookup("addr").Value.String(), Raft: flags.Lookup("peer-addr").Value.String(), HTTP: flags.Lookup("http-addr").Value.String()},
		server.Advertise{Server: flags.Lookup("advertise").Value.String()},
	)
	require.NoError(t, err)
	host := pod + "." + service
	require.Equal(t, server.Addrs{GRPC: host + ":7420", Raft: host + ":7421", HTTP: host + ":7422"}, use)
	require.Contains(t, join, use.GRPC, "others find it under this name")

	worker := requireStarts(t, texts(t, at(t, at(t, kinds["Deployment"], "spec", "template", "spec", "containers").([]any)[0], "args")))
	require.Equal(t, strings.Join(join, ","), worker.Lookup("addr").Value.String())
}

// execStart returns the command line of a unit.
func execStart(t *testing.T, unit string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(deployed, "systemd", unit))
	require.NoError(t, err)
	for line := range strings.Lines(string(data)) {
		if command, ok := strings.CutPrefix(line, "ExecStart="); ok {
			return strings.Fields(command)
		}
	}
	require.Fail(t, "it starts nothing", unit)
	return nil
}

func TestTheUnitsOfSystemdStart(t *testing.T) {
	t.Parallel()
	for _, name := range []string{serverSection, workerSection} {
		args := execStart(t, "rota-"+name+".service")
		require.Equal(t, []string{"/usr/bin/rota", name}, args[:2])
		flags := requireStarts(t, args[1:])
		require.Equal(t, "/etc/rota/rota.yaml", flags.Lookup("config").Value.String())
	}
}

// systemd knows each setting of the units, and the units leave little to somebody who has taken over the process: the
// exposure that systemd-analyze computes, from 0 to 100, has a bound.
func TestTheUnitsAreHardened(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("there is no systemd-analyze on this machine")
	}
	for unit, most := range map[string]string{"rota-server.service": "15", "rota-worker.service": "60", "rota-backup.service": "25"} {
		path := filepath.Join(deployed, "systemd", unit)
		out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold="+most, path).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	units, err := filepath.Glob(filepath.Join(deployed, "systemd", "*"))
	require.NoError(t, err)
	require.Len(t, units, 4)
	out, _ := exec.Command("systemd-analyze", append([]string{"verify", "--man=no"}, units...)...).CombinedOutput()
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(out)), "\n"), func(line string) bool {
		// The program is not installed here; what is said of other units is theirs.
		return line == "" || strings.Contains(line, "/usr/bin/rota is not executable") || !strings.Contains(line, "rota-")
	})
	require.Empty(t, lines)
}
