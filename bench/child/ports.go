package child

import "github.com/rota-scheduler/rota/internal/ports"

// Ports are ports of this machine that no other benchmark or test is given until they are released.
type Ports []int

// Loopback is the address of a port of this machine.
func Loopback(port int) string { return ports.Loopback(port) }

// TakePorts returns ports that nobody listens on.
func TakePorts(n int) (Ports, error) {
	var taken Ports
	for range n {
		port, err := ports.Take(1)
		if err != nil {
			taken.Release()
			return nil, err
		}
		taken = append(taken, port)
	}
	return taken, nil
}

// Release lets others have the ports.
func (p Ports) Release() {
	for _, port := range p {
		ports.Release(port)
	}
}
