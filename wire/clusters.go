package wire

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/rota-scheduler/rota/task"
)

// The addresses that somebody gives may belong to two clusters: an old ROTA_ADDR, a line too many. A client that tried them
// one after the other would have jobs in both. So the first calls of a client, and the hello of a worker, name all the
// addresses that it was given. A server that knows all of them as addresses of its cluster goes on: that costs no round
// trip. Otherwise it refuses before it does anything, and the client asks each address for its cluster. That also clears
// up addresses by another name, or of a server that has moved.

// addrsKey is the metadata key of the addresses that a client or worker was given.
const addrsKey = "rota-addrs"

// maxAddrs bounds the named addresses, bytes: there are a few servers, and metadata is bounded. More are not looked at.
const maxAddrs = 2 << 10

// WithAddrs adds to a call the addresses that its caller takes for one cluster.
func WithAddrs(ctx context.Context, addrs []string) context.Context {
	list := strings.Join(addrs, ",")
	if len(addrs) < 2 || len(list) > maxAddrs {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, addrsKey, list)
}

// CheckAddrs refuses a call that names addresses which this server does not know as its cluster's. known is called only if
// the call names some, and returns nil if there is no cluster yet.
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

// canonical is an address in its most usual form: IPv6 has many for one.
func canonical(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	}
	return net.JoinHostPort(strings.ToLower(host), port)
}
