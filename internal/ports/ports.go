package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
)

const (
	// Ports are taken from lowest on and below end, as far as these are not those of outgoing connections. Below
	// are those of services that everybody knows, above those of outgoing connections as Linux has it.
	lowest, end = 10_000, 32_000
	// Ports that need no privilege lie from unprivileged on and below all.
	unprivileged, all = 1024, 1 << 16
	// fewest is how many ports must be left for clusters of many tests side by side.
	fewest = 2_000
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

// outgoingFile holds the first and the last port that the system gives to outgoing connections.
const outgoingFile = "/proc/sys/net/ipv4/ip_local_port_range"

// bounds returns the first port of those that are taken, and the one behind them.
var bounds = sync.OnceValues(func() (first, behind int) {
	data, err := os.ReadFile(outgoingFile)
	if err != nil {
		return lowest, end
	}
	var low, high int
	if _, err := fmt.Sscan(string(data), &low, &high); err != nil {
		return lowest, end
	}
	return outside(low, high)
})

// outside returns bounds where ports from low to high are those of outgoing connections.
func outside(low, high int) (first, behind int) {
	for _, r := range [][2]int{
		{lowest, min(low, end)}, {max(lowest, high+1), end}, // what is left of ours
		{unprivileged, min(low, lowest)}, {max(end, high+1), all},
	} {
		// Whoever takes ports begins at multiples of the step, so that marks are met.
		if first = (r[0] + step - 1) / step * step; r[1]-first >= fewest {
			return first, r[1]
		}
	}
	return lowest, end
}

// Loopback is the address of a port on this machine.
func Loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Take returns the first of count ports in a row, up to four, that are free and that nobody else
// is given until they are released, or this process ends.
func Take(count int) (int, error) {
	from, behind := bounds()
	for range tries {
		first := from + step*rand.IntN((behind-from)/step)
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
	// The mark comes first, so that only one process at a time looks at these ports.
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
