package wire

import (
	"context"
	"net"
	"syscall"

	"google.golang.org/grpc"

	"github.com/rota-scheduler/rota/task"
)

// Loopback says whether a host, a name or an address, is this machine. Whoever reaches a server in plain text can run
// commands: so without TLS programs dial and listen on this machine only. Of names, only localhost is known to be
// this machine; others are looked up when they are dialled.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// CheckPlain refuses an address (host:port) that cannot be used in plain text. Whether a name can shows only when it is
// dialled.
func CheckPlain(addr string) error {
	if IsService(addr) {
		return CheckServer(addr)
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return CheckAddr(addr)
	}
	if net.ParseIP(host) == nil || Loopback(host) {
		return nil
	}
	return errBeyond(addr)
}

// errBeyond is the error for an address of another machine.
func errBeyond(addr string) error {
	return task.Errorf(task.KindInvalid, "%s is beyond this machine, and connections in plain text stay on loopback addresses such as 127.0.0.1: name a CA bundle and a certificate (--tls-ca, --tls-cert, --tls-key)", addr)
}

// dialPlain makes a connection in plain text, to this machine only, whatever name the server has.
func dialPlain(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Control: func(_, to string, _ syscall.RawConn) error {
		host, _, err := net.SplitHostPort(to)
		if err != nil || !Loopback(host) {
			return errBeyond(to)
		}
		return nil
	}}
	return dial(ctx, &d, addr)
}

// Insecure returns the options of Dial for connections in plain text to any machine. Whoever is between can read and change
// what is sent.
func Insecure() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		return dial(ctx, new(net.Dialer), addr)
	})}
}
