package ports

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

const (
	// Ports are taken from these on; above are those of outgoing connections.
	lowest, highest = 10_000, 32_000
	// step is the distance between the first ports of those who take some.
	step = 4
	// tries bounds the search.
	tries = 1000
)

// ErrNone says that there are no free ports.
var ErrNone = errors.New("no free ports were found on 127.0.0.1")

// marks is the sockets that mark ports as taken, by the first port.
var marks struct {
	sync.Mutex
	open map[int]net.PacketConn
}

// Loopback is the address of a port on this machine.
func Loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Take returns the first of count ports in a row, up to four, that are free and that nobody else
// is given until they are released, or this process ends.
func Take(count int) (int, error) {
	for range tries {
		first := lowest + step*rand.IntN((highest-lowest)/step)
		if take(first, count) {
			return first, nil
		}
	}
	return 0, ErrNone
}

func take(first, count int) bool {
	if count > step {
		return false
	}
	// The mark comes first: whoever has it looks at the ports alone.
	mark, err := net.ListenPacket("udp", Loopback(first))
	if err != nil {
		return false
	}
	if !Free(first, count) {
		_ = mark.Close()
		return false
	}
	marks.Lock()
	defer marks.Unlock()
	if marks.open == nil {
		marks.open = map[int]net.PacketConn{}
	}
	marks.open[first] = mark
	return true
}

// Release lets others have what Take has returned.
func Release(first int) {
	marks.Lock()
	defer marks.Unlock()
	if mark := marks.open[first]; mark != nil {
		_ = mark.Close()
		delete(marks.open, first)
	}
}

// Free says whether nobody listens on any of count ports.
func Free(first, count int) bool {
	for port := first; port < first+count; port++ {
		l, err := net.Listen("tcp", Loopback(port))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}
