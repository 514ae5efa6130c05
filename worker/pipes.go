package worker

import (
	"bytes"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rota-scheduler/rota/task"
)

const (
	// readSize is the least that is read of an output at once, bytes.
	readSize = 4 << 10
	// keepBuffer is the largest buffer that a slot keeps from task to task, bytes.
	keepBuffer = 64 << 10
)

// pipes are the agent's ends of a command's standard files.
type pipes struct {
	stdout, stderr *os.File
	// stdin is for what did not fit into the pipe at once; nil: all did.
	stdin     *os.File
	rest      []byte
	files     []*os.File
	tail      tail
	tailDone  chan struct{}
	stdinDone chan struct{}
}

// newPipes makes pipes and puts the command's ends into the request.
func newPipes(stdin []byte, r *startRequest) (*pipes, error) {
	p := &pipes{}
	err := p.open(stdin, r)
	if err != nil {
		p.close()
		p.started(r)
		return nil, err
	}
	return p, nil
}

func (p *pipes) open(stdin []byte, r *startRequest) (err error) {
	if p.stdout, r.stdout, err = outPipe(); err != nil {
		return err
	}
	if p.stderr, r.stderr, err = outPipe(); err != nil {
		return err
	}
	p.files = []*os.File{p.stdout, p.stderr}
	if len(stdin) == 0 {
		return nil
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	r.stdin = fds[0]
	if err := unix.SetNonblock(fds[1], true); err != nil {
		closeFiles(fds[1])
		return err
	}
	// As a rule the payload fits into the pipe, and needs no goroutine.
	n, err := unix.Write(fds[1], stdin)
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		closeFiles(fds[1])
		return err
	}
	if n == len(stdin) {
		return unix.Close(fds[1])
	}
	p.rest = stdin[max(n, 0):]
	p.stdin = os.NewFile(uintptr(fds[1]), "stdin")
	p.files = append(p.files, p.stdin)
	return nil
}

// outPipe makes a pipe that is read here and written by a command. Only this end is
// non-blocking: programs do not expect that of their standard output.
func outPipe() (*os.File, int, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, -1, err
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		closeFiles(fds[0], fds[1])
		return nil, -1, err
	}
	return os.NewFile(uintptr(fds[0]), "pipe"), fds[1], nil
}

// started closes the command's ends here: the guard has got them, or nobody will.
func (p *pipes) started(r *startRequest) {
	closeFiles(r.stdin, r.stdout, r.stderr)
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
	for _, f := range []*os.File{p.stdin, p.stdout, p.stderr} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// read reads the outputs until they end or the command has ended. Of standard
// output it returns all, or that it is too much; the command is killed then.
func (p *pipes) read(s *slot, c *proc) (output []byte, tooMuch bool) {
	p.tailDone = make(chan struct{})
	go func() {
		defer close(p.tailDone)
		p.tail.readFrom(p.stderr)
	}()
	if p.stdin != nil {
		p.stdinDone = make(chan struct{})
		go func() {
			defer close(p.stdinDone)
			// A command need not read its input.
			_, _ = p.stdin.Write(p.rest)
			_ = p.stdin.Close()
		}()
	}
	b := s.stdout[:0]
	for {
		if cap(b)-len(b) < readSize {
			b = append(make([]byte, 0, max(readSize, 2*cap(b))), b...)
		}
		n, err := p.stdout.Read(b[len(b):cap(b)])
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
	s.stdout = nil
	if cap(b) <= keepBuffer {
		s.stdout = b
	}
	return b, tooMuch
}

// finish closes everything and returns the end of standard error.
func (p *pipes) finish() []byte {
	<-p.tailDone
	if p.stdinDone != nil {
		<-p.stdinDone
	}
	p.close()
	return p.tail.bytes()
}

// tail keeps the end of what is written to it.
type tail struct{ b []byte }

func (t *tail) readFrom(f *os.File) {
	for {
		if len(t.b) == cap(t.b) {
			switch {
			case cap(t.b) < 2*task.MaxStderrTail:
				t.b = append(make([]byte, 0, max(512, 2*cap(t.b))), t.b...)
			default:
				t.b = t.b[:copy(t.b, t.b[len(t.b)-task.MaxStderrTail:])]
			}
		}
		n, err := f.Read(t.b[len(t.b):cap(t.b)])
		t.b = t.b[:len(t.b)+n]
		if err != nil {
			return
		}
	}
}

func (t *tail) bytes() []byte {
	return bytes.Clone(t.b[max(0, len(t.b)-task.MaxStderrTail):])
}
