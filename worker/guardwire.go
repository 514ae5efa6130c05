package worker

import (
	"encoding/binary"
	"errors"
	"syscall"
	"time"

	"github.com/rota-scheduler/rota/task"
)

// Agent and guard speak in frames over a socket: the length of the rest as 4 bytes,
// little-endian, a kind, and fields. Numbers are unsigned varints, texts packed as
// in package task. Both ends are one binary, so there are no versions.

// Kinds of frames to the guard.
const (
	// frameStart: id, flags, path, folder, arguments, environment; with the frame
	// travel the command's standard input, if flagged, output and error.
	frameStart = 'S'
	// frameSignal: id, signal.
	frameSignal = 'K'
	// frameLease: the moment, on bootNow in ns, when exclusive work must be dead.
	frameLease = 'L'
	// frameHold and frameRelease: the agent itself runs one more, or one less,
	// exclusive task, and is to die in place of a process group.
	frameHold    = 'H'
	frameRelease = 'R'
)

// Kinds of frames to the agent.
const (
	// frameFailed: id, errno. The command did not start.
	frameFailed = 'F'
	// frameEnded: id, wait status, 1 if it was killed for the lease. The command and
	// its whole group have ended.
	frameEnded = 'E'
)

// Flags of frameStart.
const (
	startExclusive = 1 << iota
	startStdin
)

// maxFrame bounds a frame, bytes: above what the kernel takes as arguments and
// environment of a program.
const maxFrame = 4 << 20

var errFrame = errors.New("worker: a frame between agent and guard is malformed")

// frame makes a frame with numbers.
func frame(kind byte, numbers ...uint64) []byte {
	b := append(make([]byte, 4, 40), kind)
	for _, n := range numbers {
		b = binary.AppendUvarint(b, n)
	}
	return closeFrame(b)
}

func closeFrame(b []byte) []byte {
	binary.LittleEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// fields reads the fields of a frame. After a malformed one all are empty, and
// failed is set.
type fields struct {
	rest   []byte
	failed bool
}

func (f *fields) number() uint64 {
	n, k := binary.Uvarint(f.rest)
	if k <= 0 {
		f.failed, f.rest = true, nil
		return 0
	}
	f.rest = f.rest[k:]
	return n
}

func (f *fields) text() string {
	v, rest, ok := task.PackNext(f.rest)
	if !ok {
		f.failed = true
	}
	f.rest = rest
	return string(v)
}

func (f *fields) texts() []string {
	n := f.number()
	if n > uint64(len(f.rest)) {
		f.failed = true
		return nil
	}
	list := make([]string, 0, n)
	for range n {
		list = append(list, f.text())
	}
	return list
}

// startRequest is a command that the guard is to start.
type startRequest struct {
	id        uint64
	exclusive bool
	path, dir string
	argv, env []string
	// stdin is -1 for none. In the guard the files are its to close.
	stdin, stdout, stderr int
}

func (r *startRequest) frame() []byte {
	size := 64 + len(r.path) + len(r.dir)
	for _, list := range [][]string{r.argv, r.env} {
		for _, s := range list {
			size += len(s) + 4
		}
	}
	flags := uint64(0)
	if r.exclusive {
		flags |= startExclusive
	}
	if r.stdin >= 0 {
		flags |= startStdin
	}
	b := append(make([]byte, 4, size), frameStart)
	b = binary.AppendUvarint(b, r.id)
	b = binary.AppendUvarint(b, flags)
	b = appendText(b, r.path)
	b = appendText(b, r.dir)
	b = appendTexts(b, r.argv)
	b = appendTexts(b, r.env)
	return closeFrame(b)
}

// files is what travels with the frame, in this order.
func (r *startRequest) files() []int {
	if r.stdin >= 0 {
		return []int{r.stdin, r.stdout, r.stderr}
	}
	return []int{r.stdout, r.stderr}
}

func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendTexts(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendText(b, s)
	}
	return b
}

// parseStart reads a frameStart and takes its files from those that have arrived.
func parseStart(body []byte, arrived *[]int) (*startRequest, error) {
	f := fields{rest: body}
	r := &startRequest{id: f.number(), stdin: -1}
	flags := f.number()
	r.exclusive = flags&startExclusive != 0
	r.path, r.dir = f.text(), f.text()
	r.argv, r.env = f.texts(), f.texts()
	n := 2
	if flags&startStdin != 0 {
		n = 3
	}
	if f.failed || len(*arrived) < n {
		return nil, errFrame
	}
	mine := (*arrived)[:n]
	if n == 3 {
		r.stdin = mine[0]
	}
	r.stdout, r.stderr = mine[n-2], mine[n-1]
	*arrived = (*arrived)[n:]
	return r, nil
}

// ending is what a frameEnded says.
type ending struct {
	status  syscall.WaitStatus
	byLease bool
}

func leaseFrame(deadline time.Duration) []byte {
	return frame(frameLease, uint64(max(0, deadline)))
}

// frames splits a stream of bytes into frames.
type frames struct{ buf []byte }

// next returns the next frame; ok is false where it has not arrived in full. The
// body is valid until the next call of feed.
func (s *frames) next() (kind byte, body []byte, ok bool, err error) {
	if len(s.buf) < 4 {
		return 0, nil, false, nil
	}
	n := int(binary.LittleEndian.Uint32(s.buf))
	if n == 0 || n > maxFrame {
		return 0, nil, false, errFrame
	}
	if len(s.buf) < 4+n {
		return 0, nil, false, nil
	}
	f := s.buf[4 : 4+n]
	s.buf = s.buf[4+n:]
	return f[0], f[1:], true, nil
}

// feed adds what has arrived.
func (s *frames) feed(b []byte) { s.buf = append(s.buf, b...) }
