package child

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

const (
	// Above these ports are those that the system gives to outgoing connections, which
	// could take a server's while it is down.
	lowestPort, highestPort = 20000, 32000
	portTries               = 200
)

// Loopback is the address of a port of this machine.
func Loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// FreePorts returns ports that nobody listens on.
func FreePorts(n int) ([]int, error) {
	var ports []int
	taken := map[int]bool{}
	for range portTries {
		if len(ports) == n {
			return ports, nil
		}
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		l, err := net.Listen("tcp", Loopback(port))
		if err != nil || taken[port] {
			continue
		}
		l.Close()
		taken[port] = true
		ports = append(ports, port)
	}
	return nil, errors.New("no free ports were found on 127.0.0.1")
}
