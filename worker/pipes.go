package worker

import (
	"bytes"
	"errors"
	"os"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker/guard"
)

const (
	// readSize is the least that is read of an output at once, bytes.
	readSize = 4 << 10
	// keepBuffer is the largest buffer that a slot keeps from task to task, bytes.
	keepBuffer = 64 << 10
	// quickEnd is how long a command's end is awaited before its outputs are followed.
	// What a command writes within that time stands in the pipes (64 KiB each); one
	// that writes more waits for the rest of it.
	quickEnd = 5 * time.Millisecond
	// drainTimeout is how long output is waited for once a command's processes have
	// ended: what holds it open then has left the group.
	drainTimeout = 500 * time.Millisecond
)

// pipes are the agent's ends of a command's standard files. Following a pipe costs
// a registration with the poller, a goroutine and a wake-up, which is a good part
// of what a short command takes; so it is done for those only that run longer than
// quickEnd. What a shorter one has written is read once it has ended.
type pipes struct {
	// stdout and stderr are -1 once they are closed or followed.
	stdout, stderr int
	// stdin is for what did not fit into the pipe at once; -1: all did.
	stdin int
	rest  []byte
	tail  tail
}

// newPipes makes pipes and puts the command's ends into the request.
func newPipes(stdin []byte, r *guard.StartRequest) (*pipes, error) {
	p := &pipes{stdout: -1, stderr: -1, stdin: -1}
	err := p.open(stdin, r)
	if err != nil {
		p.close()
		p.started(r)
		return nil, err
	}
	return p, nil
}

func (p *pipes) open(stdin []byte, r *guard.StartRequest) (err error) {
	// Only these ends are non-blocking: programs do not expect that of theirs.
	if p.stdout, r.Stdout, err = newPipe(); err != nil {
		return err
	}
	if err := unblock(p.stdout); err != nil {
		return err
	}
	if p.stderr, r.Stderr, err = newPipe(); err != nil {
		return err
	}
	if err := unblock(p.stderr); err != nil {
		return err
	}
	if len(stdin) == 0 {
		return nil
	}
	if r.Stdin, p.stdin, err = newPipe(); err != nil {
		return err
	}
	if err := unblock(p.stdin); err != nil {
		return err
	}
	// As a rule the payload fits into the pipe.
	n, err := unix.Write(p.stdin, stdin)
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		return err
	}
	if n == len(stdin) {
		closeFiles(p.stdin)
		p.stdin = -1
		return nil
	}
	p.rest = stdin[max(n, 0):]
	return nil
}

func newPipe() (read, write int, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return -1, -1, err
	}
	return fds[0], fds[1], nil
}

// unblock makes a file that was just made non-blocking: it has no flags to keep.
func unblock(fd int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_NONBLOCK)
	return err
}

// started closes the command's ends here: the guard has got them, or nobody will.
func (p *pipes) started(r *guard.StartRequest) {
	closeFiles(r.Stdin, r.Stdout, r.Stderr)
}

// closeFiles closes what there is. Pipes have nothing to say about it.
func closeFiles(fds ...int) {
	for _, fd := range fds {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

func (p *pipes) close() {
	closeFiles(p.stdin, p.stdout, p.stderr)
	p.stdin, p.stdout, p.stderr = -1, -1, -1
}

// read reads the outputs until they end or the command has ended, and closes all.
// Of standard output it returns all, or that it is too much; the command is killed
// then. Of standard error it returns the end.
func (p *pipes) read(s *slot, c *proc) (output []byte, tooMuch bool, stderr []byte) {
	b := s.stdout[:0]
	var ended bool
	if p.stdin < 0 && c.endsWithin(quickEnd) {
		if b, ended = drainPipe(p.stdout, b); ended {
			ended = p.tail.drain(p.stderr)
		}
	}
	if ended {
		p.close()
	} else {
		b, tooMuch = p.follow(b, c)
	}
	s.stdout = nil
	if cap(b) <= keepBuffer {
		s.stdout = b
	}
	<-c.done
	return b, tooMuch, p.tail.bytes()
}

// endsWithin waits for the command's end, and says whether it came.
func (c *proc) endsWithin(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c.done:
		return true
	case <-timer.C:
		return false
	}
}

// drainPipe appends what stands in a pipe, and says whether that was all: a process
// that has left the command's group may hold it open.
func drainPipe(fd int, b []byte) (_ []byte, ended bool) {
	for {
		b = roomFor(b)
		n, err := unix.Read(fd, b[len(b):cap(b)])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return b, !errors.Is(err, unix.EAGAIN)
		case n == 0:
			return b, true
		default:
			b = b[:len(b)+n]
		}
	}
}

func roomFor(b []byte) []byte {
	if cap(b)-len(b) >= readSize {
		return b
	}
	return append(make([]byte, 0, max(readSize, 2*cap(b))), b...)
}

// follow reads the outputs as they come, until drainTimeout after the command's end.
func (p *pipes) follow(b []byte, c *proc) (_ []byte, tooMuch bool) {
	stdout, stderr := os.NewFile(uintptr(p.stdout), "stdout"), os.NewFile(uintptr(p.stderr), "stderr")
	files := []*os.File{stdout, stderr}
	var others sync.WaitGroup
	if p.stdin >= 0 {
		stdin := os.NewFile(uintptr(p.stdin), "stdin")
		files = append(files, stdin)
		others.Go(func() {
			// A command need not read its input.
			_, _ = stdin.Write(p.rest)
			_ = stdin.Close()
		})
	}
	p.stdin, p.stdout, p.stderr = -1, -1, -1
	others.Go(func() { p.tail.readFrom(stderr) })
	others.Go(func() {
		<-c.done
		for _, f := range files {
			_ = f.SetDeadline(time.Now().Add(drainTimeout))
		}
	})
	for {
		b = roomFor(b)
		n, err := stdout.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if len(b) > task.MaxPayload {
			tooMuch = true
			c.signal(unix.SIGKILL)
			break
		}
		if err != nil {
			break
		}
	}
	others.Wait()
	for _, f := range files {
		_ = f.Close()
	}
	return b, tooMuch
}

// tail keeps the end of what is written to it.
type tail struct {
	b []byte
	// cut: b is not all.
	cut bool
}

func (t *tail) readFrom(f *os.File) {
	for {
		n, err := f.Read(t.room())
		t.b = t.b[:len(t.b)+n]
		if err != nil {
			return
		}
	}
}

// drain is drainPipe for what is not worth keeping whole.
func (t *tail) drain(fd int) (ended bool) {
	for {
		n, err := unix.Read(fd, t.room())
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return !errors.Is(err, unix.EAGAIN)
		case n == 0:
			return true
		default:
			t.b = t.b[:len(t.b)+n]
		}
	}
}

// room returns where to read to next.
func (t *tail) room() []byte {
	if len(t.b) == cap(t.b) {
		switch {
		case cap(t.b) < 2*task.MaxStderrTail:
			t.b = append(make([]byte, 0, max(512, 2*cap(t.b))), t.b...)
		default:
			t.b, t.cut = t.b[:copy(t.b, t.b[len(t.b)-task.MaxStderrTail:])], true
		}
	}
	return t.b[len(t.b):cap(t.b)]
}

func (t *tail) bytes() []byte {
	b := t.b[max(0, len(t.b)-task.MaxStderrTail):]
	if t.cut || len(b) < len(t.b) {
		b = b[partialRune(b):]
	}
	return bytes.Clone(b)
}

// partialRune is how many bytes at the beginning of a text that was cut belong to a character that is
// not there whole.
func partialRune(b []byte) int {
	for i := range min(utf8.UTFMax, len(b)) {
		if utf8.RuneStart(b[i]) {
			return i
		}
	}
	return 0 // it is no text
}
