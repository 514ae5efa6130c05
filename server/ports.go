package server

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/rota-scheduler/rota/wire"
)

// listeners are the three open ports of a server.
type listeners struct{ grpc, peer, http *wire.Door }

// turned is the connections that were turned away, by port.
func (p listeners) turned() map[string]wire.Turned {
	return map[string]wire.Turned{"grpc": p.grpc.Turned(), "raft": p.peer.Turned(), "http": p.http.Turned()}
}

// openPorts opens all ports. If one cannot be opened, it closes the others.
func openPorts(at Addrs) (p listeners, err error) {
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	room, err := connectionRoom()
	if err != nil {
		return p, err
	}
	if p.grpc, err = listen("--addr", at.GRPC, room.GRPC); err != nil {
		return p, err
	}
	if p.peer, err = listen("--peer-addr", at.Raft, room.Peer); err != nil {
		return p, err
	}
	p.http, err = listen("--http-addr", at.HTTP, room.HTTP)
	return p, err
}

// connectionRoom is how many connections each port may have, by the number of descriptors of this process. Go has raised
// that limit to the hard one.
func connectionRoom() (wire.Room, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return wire.Room{}, fmt.Errorf("ask for the limit of file descriptors: %w", err)
	}
	return wire.RoomFor(limit.Cur)
}

// listen opens the port that a flag of the command names, with room for a number of connections.
func listen(flag, addr string, most int) (*wire.Door, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("port %s of %s is taken: another server may be running; stop it, or choose another %s", portOf(addr), flag, flag)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", flag, err)
	}
	return wire.NewDoor(l, most), nil
}

func portOf(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return port
}

// close stops accepting connections. Open ones stay.
func (p listeners) close() {
	for _, l := range []*wire.Door{p.grpc, p.peer, p.http} {
		if l != nil {
			l.Close()
		}
	}
}
