package harness

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of CPU times in /proc: USER_HZ is 100 on every architecture that
// Linux has for Go.
const tick = 10 * time.Millisecond

// ClientRole is the role of this process, which is the client of every system.
const ClientRole = "client"

// CPU is the CPU time of processes by their role.
type CPU map[string]time.Duration

// readCPU returns the CPU time so far of the processes and of what they have started,
// and of this one. Processes that have ended are left out.
func readCPU(processes []Process) (CPU, error) {
	all, err := readStats()
	if err != nil {
		return nil, err
	}
	cpu := CPU{}
	for _, p := range processes {
		cpu[p.Role] += all.tree(p.Pid)
	}
	var self, children unix.Rusage
	// The children that count here are those that ended meanwhile: clients that are
	// programs of their own.
	if err := errors.Join(unix.Getrusage(unix.RUSAGE_SELF, &self), unix.Getrusage(unix.RUSAGE_CHILDREN, &children)); err != nil {
		return nil, fmt.Errorf("read the CPU time of this process: %w", err)
	}
	for _, t := range []unix.Timeval{self.Utime, self.Stime, children.Utime, children.Stime} {
		cpu[ClientRole] += time.Duration(t.Nano())
	}
	return cpu, nil
}

// since is what was used after an earlier reading.
func (c CPU) since(before CPU) CPU {
	used := CPU{}
	for role, t := range c {
		used[role] = max(0, t-before[role])
	}
	return used
}

// procStats is the processes of this machine: their parents and their CPU times.
type procStats struct {
	used     map[int]time.Duration
	children map[int][]int
}

func readStats() (procStats, error) {
	s := procStats{used: map[int]time.Duration{}, children: map[int][]int{}}
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return s, err
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // It has ended.
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return s, fmt.Errorf("read %s: %w", path, err)
		}
		parent, used, err := parseStat(data)
		if err != nil {
			return s, fmt.Errorf("read %s: %w", path, err)
		}
		s.used[pid] = used
		s.children[parent] = append(s.children[parent], pid)
	}
	return s, nil
}

// parseStat reads the parent and the CPU time, that of children which have ended
// included, from a line of /proc/PID/stat.
func parseStat(data []byte) (parent int, used time.Duration, err error) {
	// The name of the program is in parentheses and may contain any byte.
	end := bytes.LastIndexByte(data, ')')
	if end < 0 {
		return 0, 0, errors.New("it has no name")
	}
	fields := strings.Fields(string(data[end+1:]))
	// The first of these is field 3, the state; 14 to 17 are the times.
	if len(fields) < 15 {
		return 0, 0, fmt.Errorf("it has %d fields only", len(fields)+2)
	}
	if parent, err = strconv.Atoi(fields[1]); err != nil {
		return 0, 0, err
	}
	for _, f := range fields[11:15] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, 0, err
		}
		used += time.Duration(n) * tick
	}
	return parent, used, nil
}

// tree is the CPU time of a process and of all that come from it.
func (s procStats) tree(pid int) time.Duration {
	used := s.used[pid]
	for _, child := range s.children[pid] {
		used += s.tree(child)
	}
	return used
}

// Disk is what a disk has done.
type Disk struct {
	// Known is false if the folder's file system is on no disk of its own, or the kernel does not count.
	Known   bool
	Flushes uint64
	Written uint64
}

// readDisk reads the counters of the disk that a folder is on.
func readDisk(dir string) Disk {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return Disk{}
	}
	device := fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	// Flushes are counted for whole disks, not for their partitions.
	sys, err := filepath.EvalSymlinks(filepath.Join("/sys/dev/block", device))
	if err != nil {
		return Disk{}
	}
	if _, err := os.Stat(filepath.Join(sys, "partition")); err == nil {
		whole, err := os.ReadFile(filepath.Join(filepath.Dir(sys), "dev"))
		if err != nil {
			return Disk{}
		}
		device = strings.TrimSpace(string(whole))
	}
	data, err := os.ReadFile("/proc/diskstats")
	if err != nil {
		return Disk{}
	}
	return parseDiskstats(data, device)
}

// parseDiskstats finds a device, as major:minor, in /proc/diskstats.
func parseDiskstats(data []byte, device string) Disk {
	const sector = 512
	for scan := bufio.NewScanner(bytes.NewReader(data)); scan.Scan(); {
		f := strings.Fields(scan.Text())
		// Field 19 is the flushes; kernels before 5.5 do not have it.
		if len(f) < 19 || f[0]+":"+f[1] != device {
			continue
		}
		written, err := strconv.ParseUint(f[9], 10, 64)
		flushes, flushErr := strconv.ParseUint(f[18], 10, 64)
		if err != nil || flushErr != nil {
			return Disk{}
		}
		return Disk{Known: true, Flushes: flushes, Written: written * sector}
	}
	return Disk{}
}

func (d Disk) since(before Disk) Disk {
	if !d.Known || !before.Known {
		return Disk{}
	}
	return Disk{Known: true, Flushes: d.Flushes - before.Flushes, Written: d.Written - before.Written}
}

const (
	// probeChunk is as much as a log entry may have, and probeBytes how much is written.
	probeChunk, probeBytes = 256 << 10, 64 << 20
)

// WriteRate measures how many bytes a second the disk of a folder takes from one
// writer that appends and syncs each 256 KiB.
func WriteRate(dir string) (bytesPerSecond float64, err error) {
	f, err := os.CreateTemp(dir, "probe-")
	if err != nil {
		return 0, fmt.Errorf("measure the disk: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	defer f.Close()
	chunk := (&Load{}).payload(0, probeChunk)
	start := time.Now()
	for range probeBytes / probeChunk {
		if _, err := f.Write(chunk); err != nil {
			return 0, fmt.Errorf("measure the disk: %w", err)
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return 0, fmt.Errorf("measure the disk: %w", err)
		}
	}
	return probeBytes / time.Since(start).Seconds(), nil
}
