package main

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/localcluster"
	loopback "github.com/rota-scheduler/rota/internal/ports"
)

// TestMain makes the test binary act as rota if it is started under that name, so that
// scripts and local clusters run the code under test.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"rota": mainOfTest})
}

// deadline bounds every wait in these tests. It is long because the machine may be busy;
// a test that passes does not wait that long.
const deadline = 60 * time.Second

// ownBinary is this program, which acts as rota if it is started under that name.
func ownBinary(t *testing.T) string {
	t.Helper()
	binary, err := os.Executable()
	require.NoError(t, err)
	return binary
}

// newCluster lays out a cluster of processes that ends with the test.
func newCluster(t *testing.T, cfg localcluster.Config) *localcluster.Cluster {
	t.Helper()
	cfg.Binary, cfg.Dir = ownBinary(t), t.TempDir()
	c, err := localcluster.New(cfg)
	require.NoError(t, err)
	t.Cleanup(c.ReleasePorts)
	t.Cleanup(c.Kill)
	return c
}

// startCluster starts a cluster of processes that ends with the test.
func startCluster(t *testing.T, cfg localcluster.Config) *localcluster.Cluster {
	t.Helper()
	c := newCluster(t, cfg)
	require.NoError(t, c.Start(t.Context()))
	return c
}

func TestScripts(t *testing.T) {
	t.Parallel()
	c := startCluster(t, localcluster.Config{Servers: 1, Workers: 1, Slots: 4, Env: []string{
		"TZ=UTC-14", "LC_TIME=C.UTF-8", "LANG=C", "LANGUAGE=fi", "LOGNAME=fred", "USER=fred", "SHELL=/bin/false", "HOME=/",
		"DATABASE_URL=postgres://fred:swordfish@db",
	}})
	// Scripts run in parallel, and the cluster must live until all of them have ended.
	t.Run("all", func(t *testing.T) {
		testscript.Run(t, testscript.Params{
			Dir:                 filepath.Join("testdata", "script"),
			RequireExplicitExec: true,
			RequireUniqueNames:  true,
			Setup: func(e *testscript.Env) error {
				e.Setenv("CLUSTER", strings.Join(c.Addrs(), ","))
				e.Setenv("CLUSTER_PORT", strings.TrimPrefix(c.Servers[0].Addr, "127.0.0.1:"))
				return nil
			},
			Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
				"exits": exits, "eventually": eventually, "bytes": makeBytes, "ports": freePorts, "listening": listening,
				"shows": showsCertificate,
			},
		})
	})
}

// TestScriptsDoNotTakeEachOthersTasks exists because all scripts share one cluster: a worker that serves every queue
// would run the tasks of other scripts, and take them along when it ends.
func TestScriptsDoNotTakeEachOthersTasks(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "exec rota worker start ") && strings.Contains(string(text), "$CLUSTER") {
				require.Contains(t, line, "--queues ", "%s: name the queue of this worker, and of its jobs", file)
			}
		}
	}
}

// exits runs a command and wants an exit code: exits 2 rota frob.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := run(ts, args[1:]); got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func run(ts *testscript.TestScript, args []string) int {
	err := ts.Exec(args[0], args[1:]...)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	ts.Check(err)
	return -1
}

// eventually runs a command until its output matches: eventually PATTERN rota job list.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually PATTERN COMMAND ARG...")
	}
	pattern := regexp.MustCompile("(?m)" + args[0])
	for end := time.Now().Add(deadline); ; {
		run(ts, args[1:])
		if pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%q never matched", args[0])
		}
	}
}

// makeBytes makes a file of a size: bytes FILE SIZE.
func makeBytes(ts *testscript.TestScript, _ bool, args []string) {
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Repeat("x", size)), 0o600))
}

// freePorts sets variables to free ports: ports A B C.
func freePorts(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		port, err := loopback.Take(1)
		ts.Check(err)
		ts.Setenv(name, strconv.Itoa(port))
	}
}

// showsCertificate waits until a port shows the certificate of a name, whether or not it lets anybody in: shows PORT NAME.
func showsCertificate(ts *testscript.TestScript, _ bool, args []string) {
	var shown string
	cfg := &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
		shown = s.PeerCertificates[0].Subject.CommonName
		return nil
	}}
	for end := time.Now().Add(deadline); ; {
		conn, err := tls.Dial("tcp", "127.0.0.1:"+args[0], cfg)
		if err == nil {
			ts.Check(conn.Close())
		}
		if shown == args[1] {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("port %s shows the certificate of %q: %v", args[0], shown, err)
		}
	}
}

// listening waits until a port is open: listening PORT.
func listening(ts *testscript.TestScript, _ bool, args []string) {
	for end := time.Now().Add(deadline); ; {
		conn, err := net.Dial("tcp", "127.0.0.1:"+args[0])
		if err == nil {
			ts.Check(conn.Close())
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("nothing listens on port %s", args[0])
		}
	}
}
