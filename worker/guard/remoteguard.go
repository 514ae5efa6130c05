package worker

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rota-scheduler/rota/worker/guard"
)

// guardWriteTimeout is how long a guard or a keeper may leave messages unread once the
// socket is full of them. Between two reads it does no more than start a program.
const guardWriteTimeout = 2 * time.Second

// guardPatience is how long a guard may take to end its keepers, and itself, when it is told to.
const guardPatience = 10 * time.Second

// errGuardLost: there is no guard, and so nothing was started.
var errGuardLost = errors.New("the guard process has ended")

// guardProcess is one guard, as the agent sees it.
type guardProcess struct {
	cmd *exec.Cmd
	peer
	// told says that it was told to end.
	told atomic.Bool
	// since is when it was started, on monoNow.
	since time.Duration
	// over is closed when it has ended.
	over chan struct{}

	mu      sync.Mutex
	keepers map[uint64]*keeper
	last    uint64
	ended   bool
}

func startGuard(lock *os.File) (*guardProcess, error) {
	conn, theirs, err := socketPair("guard")
	if err != nil {
		return nil, err
	}
	defer func() { _ = theirs.Close() }()
	if lock == nil {
		if lock, err = os.Open(os.DevNull); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("start the guard process: %w", err)
		}
		defer func() { _ = lock.Close() }()
	}
	g := &guardProcess{cmd: guard.Command(theirs, lock), peer: peer{conn: conn}, since: monoNow(), over: make(chan struct{}), keepers: map[uint64]*keeper{}}
	if err := g.cmd.Start(); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("start the guard process: %w", err)
	}
	return g, nil
}

// socketPair makes a socket: this process's end, and the file of the other one.
func socketPair(to string) (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket to the %s: %w", to, err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), to), os.NewFile(uintptr(fds[1]), "agent")
	defer func() { _ = ours.Close() }()
	conn, err := net.FileConn(ours)
	if err != nil {
		_ = theirs.Close()
		return nil, nil, fmt.Errorf("make a socket to the %s: %w", to, err)
	}
	return conn.(*net.UnixConn), theirs, nil
}

// peer is the way to a guard or a keeper.
type peer struct {
	conn    *net.UnixConn
	writing sync.Mutex
	// unanswered is how many pings were sent since it last answered one.
	unanswered atomic.Int32
}

// send sends frames, with files. After an error nothing of them has been acted on.
func (p *peer) send(b []byte, files []int) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	var oob []byte
	if len(files) > 0 {
		oob = unix.UnixRights(files...)
	}
	_ = p.conn.SetWriteDeadline(time.Now().Add(guardWriteTimeout))
	n, _, err := p.conn.WriteMsgUnix(b, oob, nil)
	if err == nil && n < len(b) {
		_, err = p.conn.Write(b[n:])
	}
	return err
}

// silent asks for an answer, and says whether too many before were not answered.
func (p *peer) silent() bool {
	if p.unanswered.Add(1) > maxPings {
		return true
	}
	// One that cannot take it does not answer.
	_ = p.send(guard.Frame(guard.FramePing), nil)
	return false
}

// receive calls handle for each frame until the connection ends, which it then closes.
func (p *peer) receive(handle func(kind byte, f *guard.Fields)) {
	var in guard.Frames
	buf := make([]byte, 4<<10)
	for {
		n, err := p.conn.Read(buf)
		if err != nil {
			break
		}
		in.Feed(buf[:n])
		for err == nil {
			var kind byte
			var f guard.Fields
			var ok bool
			if kind, f, ok, err = in.Next(); !ok {
				break
			}
			if kind == guard.FramePong {
				p.unanswered.Store(0)
			} else {
				handle(kind, &f)
			}
		}
		if err != nil {
			break
		}
	}
	_ = p.conn.Close()
}

// send sends frames, with files.
func (g *guardProcess) send(b []byte, files ...int) error {
	if err := g.peer.send(b, files); err != nil {
		// A guard that got half a message is of no use any more. The reader sees it end.
		g.kill()
		return fmt.Errorf("%w: %w", errGuardLost, err)
	}
	return nil
}

func (g *guardProcess) kill() { _ = g.cmd.Process.Kill() }

// read takes what the guard says until it has ended. A guard that was told to end, or killed,
// ends with its connection, and one that closes it for another reason is broken.
func (g *guardProcess) read() {
	g.receive(func(kind byte, f *guard.Fields) {
		if kind != guard.FrameGone {
			return
		}
		id := f.Number()
		g.mu.Lock()
		k := g.keepers[id]
		delete(g.keepers, id)
		g.mu.Unlock()
		if k == nil {
			return
		}
		if errno := unix.Errno(f.Number()); errno != 0 {
			k.whyNot = fmt.Errorf("start a keeper: %w", errno)
			_ = k.conn.Close()
		}
		close(k.gone)
	})
	g.wait()
	g.mu.Lock()
	g.ended = true
	g.mu.Unlock()
	close(g.over)
}

// wait waits for the end of a guard whose connection has ended.
func (g *guardProcess) wait() {
	patience := time.Duration(0)
	if g.told.Load() {
		// It ends its keepers first, and it may have been stopped.
		_ = g.cmd.Process.Signal(unix.SIGCONT)
		patience = guardPatience
	}
	timer := time.AfterFunc(patience, g.kill)
	defer timer.Stop()
	_ = g.cmd.Wait()
}

// newKeeper asks for a keeper. It need not be there yet to be sent a command.
func (g *guardProcess) newKeeper() (*keeper, error) {
	conn, theirs, err := socketPair("keeper")
	if err != nil {
		return nil, err
	}
	defer func() { _ = theirs.Close() }()
	k := &keeper{guard: g, peer: peer{conn: conn}, gone: make(chan struct{})}
	g.mu.Lock()
	if g.ended {
		g.mu.Unlock()
		_ = conn.Close()
		return nil, errGuardLost
	}
	g.last++
	k.id = g.last
	g.keepers[k.id] = k
	g.mu.Unlock()
	if err := g.send(guard.Frame(guard.FrameKeeper, k.id), int(theirs.Fd())); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return k, nil
}
