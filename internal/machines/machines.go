package machines

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// most is how many machines a LAN may have: as many as its addresses count.
	most = 200
	// within is how long a machine may take to be there. It leaves room for a busy machine.
	within = 60 * time.Second
	// pollEvery is how often a condition is looked at.
	pollEvery = 20 * time.Millisecond
	// prefix begins the names of all namespaces that this package makes; the number of the process follows.
	prefix = "rota-"
)

// Config is what the machines of a LAN are like.
type Config struct {
	// Boot makes systemd the first process of each machine, so that systemctl works there.
	Boot bool
}

// LAN is machines on one bridge.
type LAN struct {
	t        testing.TB
	cfg      Config
	name     string
	dir      string
	control  *control
	machines []*Machine
}

// Machine is one machine of a LAN.
type Machine struct {
	// Name is its host name. Addr and Addr6 are its addresses.
	Name, Addr, Addr6 string

	lan   *LAN
	index int
	dir   string
	cmd   *exec.Cmd
	// pid is that of its first process.
	pid atomic.Int64
}

// lans counts the LANs of this process.
var lans atomic.Int64

// New makes a LAN with a machine for each name. It ends with the test. Without root, or on a system that cannot do it, it skips the test.
func New(t testing.TB, cfg Config, names ...string) *LAN {
	t.Helper()
	if why := missing(); why != "" {
		t.Skipf("this test needs machines with addresses of their own: %s", why)
	}
	if len(names) > most {
		t.Fatalf("%d machines are too many: a LAN has %d at most", len(names), most)
	}
	removeLeftovers()
	l := &LAN{t: t, cfg: cfg, name: fmt.Sprintf("%s%d-%d", prefix, os.Getpid(), lans.Add(1)), dir: t.TempDir()}
	t.Cleanup(l.close)
	l.must("ip", "netns", "add", l.name)
	l.inLAN("link", "add", "br0", "type", "bridge")
	l.inLAN("link", "set", "br0", "up")
	for i, name := range names {
		l.machines = append(l.machines, &Machine{
			Name: name, Addr: fmt.Sprintf("10.73.0.%d", i+1), Addr6: fmt.Sprintf("fd73::%x", i+1), lan: l, index: i, dir: filepath.Join(l.dir, strconv.Itoa(i)),
		})
	}
	l.control = serve(l)
	for _, m := range l.machines {
		m.connect()
		m.start()
	}
	for _, m := range l.machines {
		m.await()
	}
	return l
}

// missing says what this system lacks; "" if it has all.
func missing() string {
	if os.Geteuid() != 0 {
		return "only root can make network namespaces"
	}
	for _, program := range []string{"ip", "unshare", "nsenter"} {
		if _, err := exec.LookPath(program); err != nil {
			return "there is no program " + program
		}
	}
	data, err := os.ReadFile("/proc/filesystems")
	if err != nil || !strings.Contains(string(data), "\toverlay\n") {
		return "the kernel has no overlayfs"
	}
	return ""
}

// Machine returns the machine with a name.
func (l *LAN) Machine(name string) *Machine {
	l.t.Helper()
	m := l.find(name)
	if m == nil {
		l.t.Fatalf("there is no machine %q", name)
	}
	return m
}

func (l *LAN) find(name string) *Machine {
	for _, m := range l.machines {
		if m.Name == name {
			return m
		}
	}
	return nil
}

// Cut pulls the cable of a machine. Heal puts it back.
func (l *LAN) Cut(name string) { l.port(name, "down") }

// Heal undoes Cut.
func (l *LAN) Heal(name string) { l.port(name, "up") }

func (l *LAN) port(name, state string) {
	l.t.Helper()
	l.inLAN("link", "set", l.Machine(name).bridgePort(), state)
}

// inLAN runs ip in the namespace of the bridge.
func (l *LAN) inLAN(args ...string) {
	l.t.Helper()
	l.must("ip", append([]string{"-n", l.name}, args...)...)
}

// must runs a command on this machine.
func (l *LAN) must(name string, args ...string) {
	l.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		l.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// close ends all machines. What cannot be removed is left for the next LAN.
func (l *LAN) close() {
	for _, m := range l.machines {
		m.end()
	}
	if l.control != nil {
		l.control.close()
	}
	for _, m := range l.machines {
		_ = exec.Command("ip", "netns", "del", m.netns()).Run()
		m.removeGroup()
	}
	_ = exec.Command("ip", "netns", "del", l.name).Run()
}

// removeLeftovers removes the network namespaces of processes that are gone.
func removeLeftovers() {
	found, _ := filepath.Glob("/run/netns/" + prefix + "*")
	for _, path := range found {
		name := filepath.Base(path)
		pid, _, _ := strings.Cut(strings.TrimPrefix(name, prefix), "-")
		if n, err := strconv.Atoi(pid); err == nil && errors.Is(unix.Kill(n, 0), unix.ESRCH) {
			_ = exec.Command("ip", "netns", "del", name).Run()
		}
	}
}

// poll waits until a condition is true.
func poll(cond func() bool) bool {
	for end := time.Now().Add(within); ; time.Sleep(pollEvery) {
		if cond() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}
