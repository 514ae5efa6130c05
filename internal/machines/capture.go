package machines

import (
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxFrame is the largest frame, bytes: segments that the kernel has not cut yet.
	maxFrame = 1 << 17
	// captureBuffer is what the kernel keeps of frames that were not read yet, bytes.
	captureBuffer = 64 << 20
	// captureWait is how long one read of a capture waits before it looks whether it should end.
	captureWait = 100 * time.Millisecond
)

// Capture calls f with each frame that crosses the bridge from now on; a frame that crosses several ports comes several
// times. The function that it returns ends that, and makes the test fail if a frame was lost.
func (l *LAN) Capture(f func(frame []byte)) (stop func()) {
	l.t.Helper()
	fd, err := l.packetSocket()
	if err != nil {
		l.t.Fatalf("capture on the bridge: %v", err)
	}
	var failed error
	end := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { failed = readFrames(fd, f, end) })
	stop = sync.OnceFunc(func() {
		close(end)
		running.Wait()
		stats, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
		_ = unix.Close(fd) // it was only read
		switch {
		case failed != nil || err != nil:
			l.t.Errorf("capture on the bridge: %v", errors.Join(failed, err))
		case stats.Drops > 0:
			l.t.Errorf("capture on the bridge: %d of %d frames were lost", stats.Drops, stats.Packets)
		}
	})
	l.t.Cleanup(stop)
	return stop
}

// readFrames reads until end is closed, and then what has come until then.
func readFrames(fd int, f func(frame []byte), end <-chan struct{}) error {
	buf := make([]byte, maxFrame)
	var until time.Time
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		idle := errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR)
		switch {
		case err == nil:
			f(buf[:n])
		case !idle:
			return err
		}
		select {
		case <-end:
			if until.IsZero() {
				until = time.Now().Add(captureWait)
			}
			// New frames may come for ever.
			if idle || time.Now().After(until) {
				return nil
			}
		default:
		}
	}
}

// packetSocket opens a socket in the network of the bridge, for all frames of all of its ports.
func (l *LAN) packetSocket() (fd int, err error) {
	// The thread changes its network; if it cannot change it back, it ends with the goroutine.
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return 0, err
	}
	defer own.Close()
	lan, err := os.Open("/run/netns/" + l.name)
	if err != nil {
		return 0, err
	}
	defer lan.Close()
	if err := unix.Setns(int(lan.Fd()), unix.CLONE_NEWNET); err != nil {
		return 0, err
	}
	all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all))
	if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
		return 0, err // and the thread stays locked
	}
	runtime.UnlockOSThread()
	if err != nil {
		return 0, err
	}
	timeout := unix.NsecToTimeval(captureWait.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, captureBuffer),
	)
	if err != nil {
		_ = unix.Close(fd) // the error says what is wrong
		return 0, err
	}
	return fd, nil
}
