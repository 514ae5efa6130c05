//go:build linux

package guard

import (
	"errors"
	"sync"

	"golang.org/x/sys/unix"
)

// socketFile is the file through which a guard, or a keeper, hears of its agent. Behind it
// stands the lock of the data folder, if there is one: it only has to be held.
const (
	socketFile = 3
	lockFile   = 4
)

// socket is the way to the agent.
type socket struct {
	file int
	// behind has an element when there is a backlog.
	behind chan struct{}

	sending sync.Mutex
	// backlog is what the agent has not taken yet. It is bounded by what the agent has asked
	// for: for each command, keeper and ping there is one event at most.
	backlog []byte
	flushes bool
}

// tell sends an event to the agent, without ever waiting for it: an agent that is
// paused must not hold up the deadlines.
func (s *socket) tell(event []byte) {
	s.sending.Lock()
	defer s.sending.Unlock()
	if len(s.backlog) == 0 {
		n, err := unix.SendmsgN(s.file, event, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err == nil && n == len(event) {
			return
		}
		event = event[max(n, 0):]
	}
	s.backlog = append(s.backlog, event...)
	if !s.flushes {
		s.flushes = true
		go s.flush()
	}
	notify(s.behind)
}

// flush sends what the agent could not take at once.
func (s *socket) flush() {
	for range s.behind {
		s.sending.Lock()
		for len(s.backlog) > 0 {
			b := s.backlog
			// Events that come meanwhile go behind, since there is a backlog.
			s.sending.Unlock()
			n, err := unix.SendmsgN(s.file, b, nil, nil, unix.MSG_NOSIGNAL)
			s.sending.Lock()
			if err != nil && !errors.Is(err, unix.EINTR) {
				// The agent is gone, as the reader will see.
				n = len(s.backlog)
			}
			s.backlog = s.backlog[max(n, 0):]
		}
		s.backlog = nil
		s.sending.Unlock()
	}
}

func newSocket() socket { return socket{file: socketFile, behind: make(chan struct{}, 1)} }

// maxFiles is the most files that are taken with one message.
const maxFiles = 16

// receive calls handle for what the agent says, and returns when the agent is gone, or is
// broken: ending its commands is the one safe answer to both.
func (s *socket) receive(handle func(kind byte, f fields, files *[]int) error) error {
	var in frames
	var files []int
	buf := make([]byte, 16<<10)
	oob := make([]byte, unix.CmsgSpace(maxFiles*4))
	for {
		n, oobn, _, _, err := unix.Recvmsg(s.file, buf, oob, unix.MSG_CMSG_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return nil //nolint:nilerr // The other side has ended, which is how this loop ends.
		}
		files = append(files, filesOf(oob[:oobn])...)
		in.feed(buf[:n])
		for {
			kind, f, ok, err := in.next()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			if err := handle(kind, f, &files); err != nil {
				return err
			}
		}
	}
}

func filesOf(oob []byte) (files []int) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
			files = append(files, fds...)
		}
	}
	return files
}

// closeFiles closes what there is. Neither pipes nor sockets have anything to say about it.
func closeFiles(fds ...int) {
	for _, fd := range fds {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
