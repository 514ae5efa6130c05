//go:build linux

package guard

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/rota-scheduler/rota/task"
)

// Agent, guard and keepers speak in frames over sockets: the length of the rest as 4 bytes,
// little-endian, a kind, and fields. Numbers are unsigned varints, texts packed as in package
// task. All of them are one binary, so there are no versions.

// Kinds of frames from the agent to its guard.
const (
	// frameKeeper: id; with it travels the keeper's end of its socket. Start a keeper.
	frameKeeper = 'N'
	// frameExclusive: id of a keeper, 1 where it runs an exclusive command from now on, 0 where
	// it does not.
	frameExclusive = 'X'
	// frameHold and frameRelease: the agent itself runs one more, or one less, exclusive task,
	// and is to die in place of a process group.
	frameHold    = 'H'
	frameRelease = 'R'
	// frameScratch: a folder that is to be removed when the agent is gone.
	frameScratch = 'T'
)

// Kinds of frames from the guard to its agent.
const (
	// frameGone: id, errno. A keeper has ended, and nothing is left of what it ran; or it did not
	// start, for which errno is the reason.
	frameGone = 'G'
)

// Kinds of frames from the agent to a keeper.
const (
	// frameStart: id, flags, path, folder, arguments, environment; with the frame travel the
	// command's standard input, if flagged, output and error.
	frameStart = 'S'
	// frameSignal: id, signal. The command has been asked to end from then on.
	frameSignal = 'K'
	// frameRetire: there are no more commands to come. What commands have left running goes on.
	frameRetire = 'Q'
)

// Kinds of frames from a keeper to the agent.
const (
	// frameUp: process id. It is the first one.
	frameUp = 'U'
	// frameFailed: id, errno. The command did not start.
	frameFailed = 'F'
	// frameEnded: id, wait status, 1 if it was killed for the lease, 1 if it has left processes
	// running, KiB of memory and us of CPU time that it has used. The command and its whole group have ended.
	frameEnded = 'E'
)

// Kinds of frames to guard and keepers alike.
const (
	// frameLease: the moment, on BootNow in ns, when exclusive work must be dead.
	frameLease = 'L'
	// framePing is answered by framePong, as soon as what came before it is done.
	framePing = 'P'
	framePong = 'p'
)

// Flags of frameStart.
const (
	startExclusive = 1 << iota
	startStdin
)

// maxFrame bounds a frame, bytes: above what the kernel takes as arguments and
// environment of a program.
const maxFrame = 4 << 20

var errFrame = errors.New("guard: a frame between agent and guard is malformed")

// numberFrame makes a frame with numbers.
func numberFrame(kind byte, numbers ...uint64) []byte {
	b := append(make([]byte, 4, 40), kind)
	for _, n := range numbers {
		b = binary.AppendUvarint(b, n)
	}
	return closeFrame(b)
}

// leaseFrame is a frameLease.
func leaseFrame(deadline time.Duration) []byte {
	return numberFrame(frameLease, uint64(max(0, deadline)))
}

// scratchFrame is a frameScratch.
func scratchFrame(dir string) []byte {
	return closeFrame(appendText(append(make([]byte, 4), frameScratch), dir))
}

func closeFrame(b []byte) []byte {
	binary.LittleEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// fields reads the fields of a frame. After a malformed one all are empty, and
// failed says so.
type fields struct {
	rest   []byte
	failed bool
}

// number reads a number.
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

// Request is a command that a keeper is to start.
type Request struct {
	ID        uint64
	Exclusive bool
	Path, Dir string
	Argv, Env []string
	// Stdin is -1 for none. In the keeper the files are its to close.
	Stdin, Stdout, Stderr int
}

// frame is the request as a frameStart.
func (r *Request) frame() []byte {
	size := 64 + len(r.Path) + len(r.Dir)
	for _, list := range [][]string{r.Argv, r.Env} {
		for _, s := range list {
			size += len(s) + 4
		}
	}
	flags := uint64(0)
	if r.Exclusive {
		flags |= startExclusive
	}
	if r.Stdin >= 0 {
		flags |= startStdin
	}
	b := append(make([]byte, 4, size), frameStart)
	b = binary.AppendUvarint(b, r.ID)
	b = binary.AppendUvarint(b, flags)
	b = appendText(b, r.Path)
	b = appendText(b, r.Dir)
	b = appendTexts(b, r.Argv)
	b = appendTexts(b, r.Env)
	return closeFrame(b)
}

// files is what travels with the frame, in this order.
func (r *Request) files() []int {
	if r.Stdin >= 0 {
		return []int{r.Stdin, r.Stdout, r.Stderr}
	}
	return []int{r.Stdout, r.Stderr}
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
func parseStart(body []byte, arrived *[]int) (*Request, error) {
	f := fields{rest: body}
	r := &Request{ID: f.number(), Stdin: -1}
	flags := f.number()
	r.Exclusive = flags&startExclusive != 0
	r.Path, r.Dir = f.text(), f.text()
	r.Argv, r.Env = f.texts(), f.texts()
	n := 2
	if flags&startStdin != 0 {
		n = 3
	}
	if f.failed || len(*arrived) < n {
		return nil, errFrame
	}
	mine := (*arrived)[:n]
	if n == 3 {
		r.Stdin = mine[0]
	}
	r.Stdout, r.Stderr = mine[n-2], mine[n-1]
	*arrived = (*arrived)[n:]
	return r, nil
}

// frames splits a stream of bytes into frames.
type frames struct{ buf []byte }

// next returns the next frame; ok is false where it has not arrived in full. The
// fields are valid until the next call of feed.
func (s *frames) next() (kind byte, f fields, ok bool, err error) {
	if len(s.buf) < 4 {
		return 0, fields{}, false, nil
	}
	n := int(binary.LittleEndian.Uint32(s.buf))
	if n == 0 || n > maxFrame {
		return 0, fields{}, false, errFrame
	}
	if len(s.buf) < 4+n {
		return 0, fields{}, false, nil
	}
	body := s.buf[4 : 4+n]
	s.buf = s.buf[4+n:]
	return body[0], fields{rest: body[1:]}, true, nil
}

// feed adds what has arrived.
func (s *frames) feed(b []byte) { s.buf = append(s.buf, b...) }
