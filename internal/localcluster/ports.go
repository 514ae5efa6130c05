package localcluster

import "github.com/rota-scheduler/rota/internal/ports"

const (
	// portStep is the distance between servers whose first port was asked for.
	portStep = 10
	// serverPorts is how many ports a server has, in a row.
	serverPorts = 3
)

// choosePorts returns the first port of each server.
func choosePorts(first, servers int) (out []int, err error) {
	if first > 0 && free(first, servers) {
		for i := range servers {
			out = append(out, first+portStep*i)
		}
		return out, nil
	}
	for range servers {
		port, err := ports.Take(serverPorts)
		if err != nil {
			return nil, err
		}
		out = append(out, port)
	}
	return out, nil
}

// free says whether the ports of all servers are free, from the first one's on.
func free(first, servers int) bool {
	for i := range servers {
		if !ports.Free(first+portStep*i, serverPorts) {
			return false
		}
	}
	return true
}
