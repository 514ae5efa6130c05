package wire

import (
	"context"
	"net"

	"google.golang.org/grpc"

	"github.com/rota-scheduler/rota/wire/secure"
)

// Secure returns the options of Dial for connections with TLS, to any machine. Without a configuration there are none, and
// connections are in plain text and stay on this machine.
func Secure(c *secure.Config) []grpc.DialOption {
	if c == nil {
		return nil
	}
	return []grpc.DialOption{
		grpc.WithTransportCredentials(c.ClientCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return dial(ctx, new(net.Dialer), addr)
		}),
	}
}

// SecureOptional returns the options of Dial for connections to servers of this machine that may not speak TLS yet.
func SecureOptional(c *secure.Config) []grpc.DialOption {
	return []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		return c.DialEither(ctx, func(ctx context.Context) (net.Conn, error) { return dialPlain(ctx, addr) }, "h2")
	})}
}
