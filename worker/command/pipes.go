//go:build linux

package command

import (
	"bytes"
	"errors"
	"os"
	"sync"
	"time"

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
	// What a command writes within that time stands in the pipes (pipeSize each); one
	// that writes more waits for the rest of it.
	quickEnd = 5 * time.Millisecond
	// pipeSize is what a pipe of Linux holds, bytes.
	pipeSize = 64 << 10
	// drainTimeout is how long output is waited for once a command's processes have
	// ended: what holds it open then has left the group.
	drainTimeout = 500 * time.Millisecond
)

// pipes are the agent's ends of a command's standard files. Following a pipe costs
// a registration with the poller, a goroutine and a wake-up, which is a good part
// of what a short command takes; so it is done for those only that run longer than
// quickEnd. What a shorter one has written is read once it has ended.
type pipes struct {
	// stdout and stderr are -1 once they are closed or followed. stdout is, from the beginning,
	// where the command's goes elsewhere.
	stdout, stderr int
	// stdin is for what did not fit into the pipe at once; -1: all did.
	stdin int
	rest  []byte
	tail  tail
	// log gets what is read; nil: nobody does.
	log Log
}

// newPipes makes pipes and puts the command's ends into the request, which may have another
// standard output already. That is closed with them.
func newPipes(stdin []byte, r *guard.Request, log Log) (*pipes, error) {
	p := &pipes{stdout: -1, stderr: -1, stdin: -1, tail: tail{log: log}, log: log}
	err := p.open(stdin, r)
	if err != nil {
		p.close()
		p.started(r)
		return nil, err
	}
	return p, nil
}

func (p *pipes) open(stdin []byte, r *guard.Request) (err error) {
	// Only these ends are non-blocking: programs do not expect that of theirs.
	if r.Stdout < 0 {
		if p.stdout, r.Stdout, err = newPipe(); err != nil {
			return err
		}
		if err := unblock(p.stdout); err != nil {
			return err
		}
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
func (p *pipes) started(r *guard.Request) {
	closeFiles(r.Stdin, r.Stdout, r.Stderr)
	r.Stdin, r.Stdout, r.Stderr = -1, -1, -1
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

// read reads the outputs until they end or the command has ended, and closes all. Of standard
// error it returns the end. A strict command is killed when there is more of its standard output
// than is kept.
func (p *pipes) read(s *Slot, c *guard.Process, strict bool) (out capture, stderr tail) {
	out.b, out.log = s.stdout[:0], p.log
	var ended bool
	if p.stdin < 0 && endsWithin(c, quickEnd) {
		if ended = p.stdout < 0 || out.drain(p.stdout); ended {
			ended = p.tail.drain(p.stderr)
		}
	}
	if ended {
		p.close()
	} else {
		p.follow(&out, c, strict)
	}
	s.stdout = nil
	if cap(out.b) <= keepBuffer {
		s.stdout = out.b
	}
	<-c.Done()
	out.finish()
	return out, p.tail
}

// endsWithin waits for the command's end, and says whether it came.
func endsWithin(c *guard.Process, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c.Done():
		return true
	case <-timer.C:
		return false
	}
}

// follow reads the outputs as they come, until drainTimeout after the command's end.
func (p *pipes) follow(out *capture, c *guard.Process, strict bool) {
	stderr := os.NewFile(uintptr(p.stderr), "stderr")
	files := []*os.File{stderr}
	var stdout *os.File
	if p.stdout >= 0 {
		stdout = os.NewFile(uintptr(p.stdout), "stdout")
		files = append(files, stdout)
	}
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
		<-c.Done()
		for _, f := range files {
			_ = f.SetDeadline(time.Now().Add(drainTimeout))
		}
	})
	for killed := false; stdout != nil; {
		n, err := stdout.Read(out.room())
		out.add(n)
		if strict && !killed && out.tooLarge() {
			killed = true
			c.Signal(unix.SIGKILL)
		}
		if err != nil {
			break
		}
	}
	others.Wait()
	for _, f := range files {
		_ = f.Close()
	}
}

// tail keeps the end of what is written to it.
type tail struct {
	b []byte
	// missing is how many bytes stood before b.
	missing uint64
	// log gets what is read, too; nil: nobody does.
	log Log
}

func (t *tail) readFrom(f *os.File) {
	for {
		n, err := f.Read(t.room())
		t.add(n)
		if err != nil {
			return
		}
	}
}

// drain is as that of capture.
func (t *tail) drain(fd int) (ended bool) {
	for got := 0; got <= pipeSize; {
		n, err := unix.Read(fd, t.room())
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return !errors.Is(err, unix.EAGAIN)
		case n == 0:
			return true
		default:
			t.add(n)
			got += n
		}
	}
	return false
}

// room returns where to read to next.
func (t *tail) room() []byte {
	if len(t.b) == cap(t.b) {
		switch {
		case cap(t.b) < 2*task.MaxStderrTail:
			t.b = append(make([]byte, 0, max(512, 2*cap(t.b))), t.b...)
		default:
			t.missing += uint64(len(t.b) - task.MaxStderrTail)
			t.b = t.b[:copy(t.b, t.b[len(t.b)-task.MaxStderrTail:])]
		}
	}
	return t.b[len(t.b):cap(t.b)]
}

// add takes n bytes that were read to room.
func (t *tail) add(n int) {
	begin := len(t.b)
	t.b = t.b[:begin+n]
	if t.log != nil {
		t.log.Stderr(t.b[begin:])
	}
}

// bytes returns the end, and how much stood before it.
func (t *tail) bytes() (end []byte, missing uint64) {
	b := t.b[max(0, len(t.b)-task.MaxStderrTail):]
	if t.missing > 0 || len(b) < len(t.b) {
		b = b[partialRune(b):]
	}
	return bytes.Clone(b), t.missing + uint64(len(t.b)-len(b))
}
