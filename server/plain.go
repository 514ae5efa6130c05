package server

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	"github.com/rota-scheduler/rota/wire"
)

// remindEvery is how often the log says that connections may be in plain text although nobody should want that to stay so.
const remindEvery = time.Hour

// dialOptions are those of connections to other servers.
func (c *Config) dialOptions() []grpc.DialOption {
	switch {
	case c.TLS != nil && c.TLSOptional:
		return wire.SecureOptional(c.TLS)
	case c.TLS != nil:
		return wire.Secure(c.TLS)
	case c.Insecure:
		return wire.Insecure()
	}
	return nil
}

// reminder is what the log says of plain text; "": nothing.
func (c *Config) reminder() string {
	switch {
	case c.Insecure:
		return "connections are in plain text beyond this machine: whoever reaches a port can run commands on the workers; make certificates with rota tls init, and leave out --insecure"
	case c.TLSOptional:
		return "plain text is still accepted from this machine; leave out --tls-optional once all servers, workers and clients use TLS"
	}
	return ""
}

// remind repeats a line of the log until ctx ends.
func remind(ctx context.Context, log *slog.Logger, line string) {
	tick := time.NewTicker(remindEvery)
	defer tick.Stop()
	for {
		log.Warn(line)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
