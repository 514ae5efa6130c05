package server

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/wire"
)

// listeners are the three open ports of a server.
type listeners struct{ grpc, peer, http *wire.Door }

// turned is which connections were turned away, by port.
func (p listeners) turned() map[string]wire.Turned {
	return map[string]wire.Turned{"grpc": p.grpc.Turned(), "raft": p.peer.Turned(), "http": p.http.Turned()}
}

// openPorts opens all ports. Those that are open are closed where one cannot be.
func openPorts(cfg *node.Config) (p listeners, err error) {
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	room, err := connectionRoom()
	if err != nil {
		return p, err
	}
	if p.grpc, err = listen("--addr", cfg.Addr, room.GRPC); err != nil {
		return p, err
	}
	if p.peer, err = listen("--peer-addr", cfg.PeerAddr, room.Peer); err != nil {
		return p, err
	}
	p.http, err = listen("--http-addr", cfg.HTTPAddr, room.HTTP)
	return p, err
}

// connectionRoom is how many connections each port may have, by the descriptors that this process
// may have. Go has raised the limit as far as it goes.
func connectionRoom() (wire.Room, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return wire.Room{}, fmt.Errorf("ask for the limit of file descriptors: %w", err)
	}
	return wire.RoomFor(limit.Cur)
}

// listen opens a port, which a flag of the command names, for at most so many connections.
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

// close lets nobody in any more. Connections that are open stay.
func (p listeners) close() {
	for _, l := range []*wire.Door{p.grpc, p.peer, p.http} {
		if l != nil {
			l.Close()
		}
	}
}
