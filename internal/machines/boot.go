package machines

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// enter makes the control group of a machine and its namespaces. Its arguments are the folder, the name of the group,
// and the program for the new namespaces with its arguments.
const enter = `
dir=$1 group=$2; shift 2
mkdir -p "$dir/groups"
mount -t cgroup2 cgroup2 "$dir/groups"
mkdir -p "$dir/groups/$group"
echo $$ >"$dir/groups/$group/cgroup.procs"
umount "$dir/groups"
exec unshare --mount --uts --ipc --pid --cgroup --fork --kill-child=KILL --propagation private "$@"
`

// root makes the file system of a machine, and becomes its first process. Its arguments are the folder, the host name, the folder with the
// socket for ssh, and that process with its arguments.
const root = `
dir=$1 name=$2 control=$3; shift 3
hostname "$name"
mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/changes,workdir=$dir/work" "$dir/root"
cd "$dir/root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir dev/pts dev/shm run/machines
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount --bind "$control" run/machines
for node in 'null 3' 'zero 5' 'full 7' 'random 8' 'urandom 9'; do
	mknod -m 666 "dev/${node% *}" c 1 "${node#* }"
done
mknod -m 666 dev/tty c 5 0
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mkdir -p run/outside
pivot_root . run/outside
cd /
umount -l /run/outside
touch /run/machine
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root container=rota "$@"
`

// netns is the name of the machine's network namespace.
func (m *Machine) netns() string { return fmt.Sprintf("%s-%d", m.lan.name, m.index) }

// group is the name of its control group.
func (m *Machine) group() string { return m.netns() }

// bridgePort is its end of the cable at the bridge.
func (m *Machine) bridgePort() string { return "port" + strconv.Itoa(m.index) }

// connect makes the network of the machine.
func (m *Machine) connect() {
	l := m.lan
	l.t.Helper()
	l.must("ip", "netns", "add", m.netns())
	l.inLAN("link", "add", m.bridgePort(), "type", "veth", "peer", "name", "eth0", "netns", m.netns())
	l.inLAN("link", "set", m.bridgePort(), "master", "br0", "up")
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"addr", "add", m.Addr + "/24", "dev", "eth0"},
		{"addr", "add", m.Addr6 + "/64", "dev", "eth0", "nodad"},
		{"link", "set", "eth0", "up"},
	} {
		l.must("ip", append([]string{"-n", m.netns()}, args...)...)
	}
}

// start starts the first process of the machine.
func (m *Machine) start() {
	l := m.lan
	l.t.Helper()
	for _, dir := range []string{"work", "root", "changes/etc", "changes/usr/local/bin"} {
		if err := os.MkdirAll(filepath.Join(m.dir, dir), 0o755); err != nil {
			l.t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"hostname": m.Name + "\n", "hosts": m.hosts(), "machine-id": ""} {
		if err := os.WriteFile(filepath.Join(m.dir, "changes/etc", name), []byte(text), 0o644); err != nil {
			l.t.Fatal(err)
		}
	}
	m.linkRemote()
	first := []string{"sleep", "infinity"}
	if l.cfg.Boot {
		first = []string{"/lib/systemd/systemd", "--system", "--unit=basic.target", "--log-target=console", "--show-status=no"}
	}
	args := []string{"netns", "exec", m.netns(), "unshare", "--mount", "--propagation", "private", "sh", "-ec", enter, "enter", m.dir, m.group(),
		"sh", "-ec", root, "root", m.dir, m.Name, l.control.dir}
	m.cmd = exec.Command("ip", append(args, first...)...)
	log, err := os.Create(filepath.Join(m.dir, "log"))
	if err != nil {
		l.t.Fatal(err)
	}
	defer log.Close()
	m.cmd.Stdout, m.cmd.Stderr = log, log
	// Whatever ends this process ends the machine.
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
}

// hosts is the file with the names of all machines. The own one is 127.0.1.1, as the installer of Debian writes it.
func (m *Machine) hosts() string {
	text := "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 " + m.Name + "\n"
	for _, other := range m.lan.machines {
		if other != m {
			text += other.Addr + " " + other.Name + "\n"
		}
	}
	return text
}

// await waits until the machine is there.
func (m *Machine) await() {
	l := m.lan
	l.t.Helper()
	there := poll(func() bool {
		// Before it is there, the child is a command that makes it, or its root is still that of this machine.
		pid := childOf(m.cmd.Process.Pid)
		if pid == 0 || !exists(fmt.Sprintf("/proc/%d/root/run/machine", pid)) {
			return false
		}
		m.pid.Store(int64(pid))
		return true
	})
	if !there {
		l.t.Fatalf("the machine %s did not start:\n%s", m.Name, m.Log())
	}
	if !l.cfg.Boot {
		return
	}
	var out []byte
	if !poll(func() bool {
		out, _ = m.Command("systemctl", "is-system-running").Output()
		state := strings.TrimSpace(string(out))
		return state == "running" || state == "degraded"
	}) {
		l.t.Fatalf("the machine %s did not boot: it is %s\n%s", m.Name, out, m.Log())
	}
}

// childOf returns the only child of a process; 0: it has none yet.
func childOf(pid int) int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(data)
	if len(fields) != 1 {
		return 0
	}
	child, _ := strconv.Atoi(string(fields[0]))
	return child
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Log returns what the first process of the machine has printed.
func (m *Machine) Log() string {
	data, _ := os.ReadFile(filepath.Join(m.dir, "log"))
	return string(data)
}

// Command returns a command that runs on the machine.
func (m *Machine) Command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{
		"--target", strconv.FormatInt(m.pid.Load(), 10), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd=" + m.Path("/root"), "--", name,
	}, args...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"}
	return cmd
}

// Path returns where this process finds a file of the machine.
func (m *Machine) Path(path string) string {
	return filepath.Join(fmt.Sprintf("/proc/%d/root", m.pid.Load()), path)
}

// end ends all processes of the machine at once, as a loss of power does.
func (m *Machine) end() {
	if m.cmd == nil || m.cmd.Process == nil {
		return
	}
	// If its first process is not known yet, it ends with its parent: --kill-child.
	if pid := int(m.pid.Load()); pid != 0 {
		_ = unix.Kill(pid, unix.SIGKILL) // the kernel ends the others of its namespace with it
	}
	_ = unix.Kill(-m.cmd.Process.Pid, unix.SIGKILL)
	_ = m.cmd.Wait() // killed
}

// removeGroup removes the control groups of the machine, the innermost first. They are empty.
func (m *Machine) removeGroup() {
	script := `mount -t cgroup2 cgroup2 "$1" && find "$1/$2" -depth -type d -exec rmdir {} +`
	_ = exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "remove", filepath.Join(m.dir, "groups"), m.group()).Run()
}
