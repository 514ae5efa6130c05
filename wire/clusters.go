package wire

import (
	"context"
	"net"
	"slices"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/rota-scheduler/rota/task"
)

// Addresses that somebody gives may be those of two clusters: an old ROTA_ADDR, a line too many. Who asks
// one after the other would have jobs here and there. So the first calls of a client, and a worker's
// hello, name all the addresses that it was given, and a server that knows of all of them that they are
// its cluster's goes on as if nothing had been said: that costs no round trip. If it does not, it
// refuses before it does anything, and the one that asked has each of the addresses say of which cluster
// it is. An address by another name, or of a server that has moved, is cleared up so.

// addrsKey is the metadata key of the addresses that a client or worker was given.
const addrsKey = "rota-addrs"

// maxAddrs bounds what is said of addresses, bytes: they are for a few servers, and metadata is bounded.
// More are not looked at.
const maxAddrs = 2 << 10

// WithAddrs has a call say which addresses its caller takes for one cluster.
func WithAddrs(ctx context.Context, addrs []string) context.Context {
	list := strings.Join(addrs, ",")
	if len(addrs) < 2 || len(list) > maxAddrs {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, addrsKey, list)
}

// CheckAddrs refuses a call that names addresses which a server does not know to be its cluster's. known
// is called only where some are named, and returns nil if there is no cluster yet.
func CheckAddrs(ctx context.Context, known func() []string) error {
	named := metadata.ValueFromIncomingContext(ctx, addrsKey)
	if len(named) == 0 || len(named[0]) > maxAddrs {
		return nil
	}
	own := known()
	if len(own) == 0 {
		return nil
	}
	for i := range own {
		own[i] = canonical(own[i])
	}
	for addr := range strings.SplitSeq(named[0], ",") {
		if !slices.Contains(own, canonical(addr)) {
			return ToStatus(task.Errorf(task.KindOtherCluster, "%s is not known to be of this cluster", addr))
		}
	}
	return nil
}

// canonical is an address by its most usual name.
func canonical(addr string) string {
	if host, port, err := net.SplitHostPort(addr); err == nil && host == "localhost" {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}
