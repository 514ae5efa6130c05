//go:build linux

package guard

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// writeTimeout is how long a guard or a keeper may leave messages unread once the
// socket is full of them. Between two reads it does no more than start a program.
const writeTimeout = 2 * time.Second

// conn is the agent's way to a guard or a keeper, which has the other end as its socket. It does
// without package net, which every guard and keeper would have to initialise.
type conn struct {
	file    *os.File
	writing sync.Mutex
	// unanswered is how many pings were sent since it last answered one.
	unanswered atomic.Int32
}

// socketPair makes a socket: this process's end, and the file of the other one.
func socketPair(to string) (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		// Of this end only: guard and keepers wait in the kernel.
		if err = unix.SetNonblock(fds[0], true); err != nil {
			closeFiles(fds[:]...)
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket to the %s: %w", to, err)
	}
	return os.NewFile(uintptr(fds[0]), to), os.NewFile(uintptr(fds[1]), "agent"), nil
}

// send sends frames, with files. After an error nothing of them has been acted on.
func (c *conn) send(b []byte, files []int) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.file.SetWriteDeadline(time.Now().Add(writeTimeout))
	if len(files) == 0 {
		_, err := c.file.Write(b)
		return err
	}
	raw, err := c.file.SyscallConn()
	if err != nil {
		return err
	}
	rights := unix.UnixRights(files...)
	var n int
	var sendErr error
	err = raw.Write(func(fd uintptr) (done bool) {
		for {
			n, sendErr = unix.SendmsgN(int(fd), b, rights, nil, unix.MSG_NOSIGNAL)
			if !errors.Is(sendErr, unix.EINTR) {
				return !errors.Is(sendErr, unix.EAGAIN)
			}
		}
	})
	if err == nil {
		err = sendErr
	}
	if err == nil && n < len(b) {
		_, err = c.file.Write(b[n:])
	}
	return err
}

// silent asks for an answer, and says whether too many before were not answered.
func (c *conn) silent() bool {
	if c.unanswered.Add(1) > maxPings {
		return true
	}
	// One that cannot take it does not answer.
	_ = c.send(numberFrame(framePing), nil)
	return false
}

// receive calls handle for each frame until the connection ends, which it then closes.
func (c *conn) receive(handle func(kind byte, f *fields)) {
	var in frames
	buf := make([]byte, 4<<10)
	for {
		n, err := c.file.Read(buf)
		if err != nil {
			break
		}
		in.feed(buf[:n])
		for err == nil {
			var kind byte
			var f fields
			var ok bool
			if kind, f, ok, err = in.next(); !ok {
				break
			}
			if kind == framePong {
				c.unanswered.Store(0)
			} else {
				handle(kind, &f)
			}
		}
		if err != nil {
			break
		}
	}
	c.close()
}

// close ends the connection. Where it was closed before there is nothing to do.
func (c *conn) close() { _ = c.file.Close() }
