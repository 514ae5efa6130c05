package localcluster

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

const (
	// Ports are chosen between these. Above are those that the system gives to
	// outgoing connections, which could take a server's while it is down.
	lowestPort, highestPort = 20000, 32000
	// portStep is the distance between servers: each has three ports.
	portStep = 10
	// portTries bounds the search for free ports.
	portTries = 200
)

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// choosePorts returns the first port of each server.
func choosePorts(first, servers int) ([]int, error) {
	if first > 0 {
		if ports, ok := free(first, servers); ok {
			return ports, nil
		}
	}
	for range portTries {
		start := lowestPort + portStep*rand.IntN((highestPort-lowestPort)/portStep-servers)
		if ports, ok := free(start, servers); ok {
			return ports, nil
		}
	}
	return nil, errors.New("no free ports were found on 127.0.0.1")
}

// free says whether the ports of all servers are free.
func free(first, servers int) (ports []int, ok bool) {
	for i := range servers {
		p := first + portStep*i
		for offset := range 3 {
			l, err := net.Listen("tcp", loopback(p+offset))
			if err != nil {
				return nil, false
			}
			l.Close()
		}
		ports = append(ports, p)
	}
	return ports, true
}
