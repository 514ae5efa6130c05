package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/rota-scheduler/rota/cmd/rota/e2e/program"
	"github.com/rota-scheduler/rota/internal/ports"
)

const (
	// ownNetwork makes this program run its arguments in a network namespace that has just been made.
	ownNetwork = "ROTA_E2E_OWN_NETWORK"
	// stepTimeout bounds one command of a shell, such as a benchmark on a busy machine.
	stepTimeout = 4 * time.Minute
	// defaultPort is the first port that servers and rota dev use by default. They use defaultPorts ports
	// at most.
	defaultPort, defaultPorts = 7420, 30
)

// shell is a user's shell: bash, which runs the commands of a text one after the other. It has a network of
// its own, so that the ports that the text names are free, whatever else runs on this
// machine.
type shell struct {
	t *testing.T
	// dir is the user's folder, where the shell begins.
	dir   string
	tmp   string
	in    io.WriteCloser
	done  chan string
	steps int
}

// newShell starts a shell that ends with the test. env is added to its environment.
func newShell(t *testing.T, env ...string) *shell {
	t.Helper()
	program.DependOnSources(t)
	root := t.TempDir()
	s := &shell{t: t, dir: filepath.Join(root, "home"), tmp: filepath.Join(root, "tmp"), done: make(chan string)}
	for _, dir := range []string{s.dir, s.tmp} {
		require.NoError(t, os.Mkdir(dir, 0o700))
	}
	cmd := inOwnNetwork(t, "bash", "--noprofile", "--norc")
	cmd.Dir = s.dir
	cmd.Env = append(append(os.Environ(), ownNetwork+"=1", "HOME="+s.dir, "TMPDIR="+s.tmp), env...)
	cmd.SysProcAttr.Setpgid = true
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	errs := &safeBuffer{}
	cmd.Stderr = errs
	s.in = in
	require.NoError(t, cmd.Start())
	go func() {
		defer close(s.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			s.done <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		// What runs in the background is in the group, too.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		for range s.done {
		}
		_ = cmd.Wait() // killed
		if errs.String() != "" {
			t.Logf("the shell said: %s", errs.String())
		}
		var left []string
		if !poll(within, func() bool { left = processes("TMPDIR=" + s.tmp); return len(left) == 0 }) {
			t.Errorf("processes are left behind: %q", left)
		}
	})
	return s
}

// inOwnNetwork returns a command in a network namespace of its own. Root may make one; others may make one in a
// user namespace. If neither is allowed, the command gets this machine's network once nobody listens on the
// default ports, and until this test ends no other test's command gets it.
func inOwnNetwork(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	own := []*syscall.SysProcAttr{
		{Cloneflags: unix.CLONE_NEWNET},
		{
			Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		},
	}
	for _, attr := range own {
		try := exec.Command(self, "true")
		try.Env, try.SysProcAttr = append(os.Environ(), ownNetwork+"=1"), attr
		if try.Run() == nil {
			cmd := exec.Command(self, args...)
			cmd.SysProcAttr = attr
			return cmd
		}
	}
	machine.Lock()
	t.Cleanup(machine.Unlock)
	await(t, "the end of whoever listens on the default ports", func() bool { return ports.Free(defaultPort, defaultPorts) })
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	return cmd
}

// machine is locked by the test whose shell has this machine's network.
var machine sync.Mutex

// enterNetwork is what this program does in a new network namespace: it switches the loopback device on and
// becomes the program that its arguments name.
func enterNetwork() error {
	if err := os.Unsetenv(ownNetwork); err != nil {
		return err
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("switch the loopback device on: %w", err)
	}
	if len(os.Args) < 2 {
		return errors.New("there is no program to run")
	}
	path, err := exec.LookPath(os.Args[1])
	if err != nil {
		return err
	}
	return syscall.Exec(path, os.Args[1:], os.Environ())
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// run runs commands, which may set variables and start something in the background. It returns what they
// printed and the exit code of the last one.
func (s *shell) run(text string) output {
	s.t.Helper()
	s.steps++
	base := filepath.Join(s.tmp, fmt.Sprintf("step.%d", s.steps))
	s.write(base, text+"\n")
	end := fmt.Sprintf("step %d ended with ", s.steps)
	_, err := fmt.Fprintf(s.in, ". %s </dev/null >%s.out 2>%s.err; echo %s$?\n", base, base, base, end)
	require.NoError(s.t, err)
	timer := time.NewTimer(stepTimeout)
	defer timer.Stop()
	for {
		select {
		case line, ok := <-s.done:
			if !ok {
				s.done = closed
				require.FailNow(s.t, "the shell has ended", "%s\n%s%s", text, s.read(base+".out"), s.read(base+".err"))
			}
			var code int
			if _, err := fmt.Sscanf(line, end+"%d", &code); err == nil {
				return output{s.read(base + ".out"), s.read(base + ".err"), code}
			}
		case <-timer.C:
			require.FailNow(s.t, "it does not end", "%s\n%s%s", text, s.read(base+".out"), s.read(base+".err"))
		}
	}
}

// closed stands for the output of a shell that has ended.
var closed = func() chan string { c := make(chan string); close(c); return c }()

// ok runs commands of which the last must succeed, and returns what they printed.
func (s *shell) ok(text string) string {
	s.t.Helper()
	out := s.run(text)
	require.Zero(s.t, out.code, "%s\n%s%s", text, out.stdout, out.stderr)
	return out.stdout
}

// start leaves a command running in the background, and returns the number of its process.
func (s *shell) start(command string) *background {
	s.t.Helper()
	s.ok(command + " &")
	b := &background{shell: s, text: command, base: filepath.Join(s.tmp, fmt.Sprintf("step.%d", s.steps))}
	b.pid = strings.TrimSpace(s.ok("echo $!"))
	return b
}

// background is a command that runs in the background of a shell.
type background struct {
	*shell
	text, base, pid string
}

// said returns all that it has printed.
func (b *background) said() string { return b.read(b.base+".out") + b.read(b.base+".err") }

// says waits until it has printed a text.
func (b *background) says(text string) {
	b.t.Helper()
	require.True(b.t, poll(within, func() bool { return strings.Contains(b.said(), text) }),
		"%q was not said by: %s\n%s", text, b.text, b.said())
}

// end asks the command to end. Its exit code must be 0.
func (b *background) end() {
	b.t.Helper()
	out := b.run("kill " + b.pid + "; wait " + b.pid)
	require.Zero(b.t, out.code, "%s\n%s", b.text, b.said())
}

// eventually runs a command until it succeeds and prints what matches a pattern, and returns that.
func (s *shell) eventually(command, pattern string) string {
	s.t.Helper()
	want := regexp.MustCompile("(?m)" + pattern)
	var out output
	require.True(s.t, poll(within, func() bool {
		out = s.run(command)
		return out.code == 0 && want.MatchString(out.stdout)
	}), "%s never printed %q: %s%s", command, pattern, out.stdout, out.stderr)
	return out.stdout
}

func (s *shell) write(path, text string) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(path, []byte(text), 0o700))
}

func (s *shell) read(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(data)
}

// put makes a file in the user's folder.
func (s *shell) put(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	require.NoError(s.t, os.MkdirAll(filepath.Dir(path), 0o700))
	s.write(path, text)
}

// three returns the commands that start three servers. The text has the command for the first one; the others
// have their own names, folders and ports.
func three(first string) []string {
	var out []string
	for i, port := range []string{"742", "743", "744"} {
		name := fmt.Sprintf("n%d", i+1)
		words := strings.Fields(first)
		for at, word := range words {
			switch word {
			case "--node-id":
				words[at+1] = name
			case "--data-dir":
				words[at+1] += "-" + name
			case "--addr", "--peer-addr", "--http-addr":
				words[at+1] = strings.Replace(words[at+1], ":742", ":"+port, 1)
			}
		}
		out = append(out, strings.Join(words, " "))
	}
	return out
}

// commandLines returns the commands of a text: lines that end with a backslash go on in the next one.
func commandLines(text string) []string {
	var out []string
	for line := range strings.SplitSeq(strings.ReplaceAll(text, "\\\n", " "), "\n") {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}
