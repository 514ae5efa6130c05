package wire

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// ForwardedKey is the metadata key of a request that a follower has forwarded to
// the leader. A server never forwards such a request again, so that two servers
// that take each other for the leader do not send it to and fro.
const ForwardedKey = "rota-forwarded"

const (
	// AuthorizationKey is the metadata key of an access token, with Bearer before it.
	AuthorizationKey = "authorization"
	// PrincipalKey is the metadata key with which a server says for whom it asks. It is heeded only if the certificate of
	// the connection is that of a server.
	PrincipalKey = "rota-principal-bin"
)

const (
	// MaxMessage is the largest message that either side accepts, bytes: twice the
	// largest request, which leaves room for what wraps it and for larger answers.
	MaxMessage = 2 * task.MaxRequest

	// maxRequestMessage is the largest message that a server accepts, bytes: the largest request with what wraps it.
	maxRequestMessage = task.MaxRequest + 64<<10

	// window is how much a server may have under way to a client, for a stream and for a
	// connection, bytes. A result stream fills it while its reader is busy, so it is
	// also what a slow reader costs in memory.
	window = 1 << 20
	// serverWindow is how much of a stream may arrive at a server before a handler reads it, bytes. A message that is
	// being read may be larger.
	serverWindow = 64 << 10

	// A client pings when it has heard nothing for keepaliveTime, and gives the connection up keepaliveTimeout later.
	// 10 s is the least that gRPC allows.
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 2 * time.Second
	// A server waits longer, so that the client, which can go to another server, pings and gives up first. A ping of
	// one side tells the other that the connection lives.
	serverKeepaliveTime    = 15 * time.Second
	serverKeepaliveTimeout = 3 * time.Second
	// keepaliveMinTime is how often a server lets clients ping. The default of five
	// minutes would end every connection that pings as above with too_many_pings.
	keepaliveMinTime = 5 * time.Second

	// A broken connection is made again soon: gRPC's default pause grows to two minutes, and for that long a worker
	// would stay away from a server that is back.
	reconnectBase = 50 * time.Millisecond
	reconnectMax  = time.Second
	// connectTimeout is how long one attempt to connect may take.
	connectTimeout = time.Second
	// handshakeTimeout is how long the handshake of a connection may take.
	handshakeTimeout = 10 * time.Second
)

// Dial returns a connection to one server at host:port. It does not wait: the
// connection is made when it is first used, and again whenever it breaks. opts
// come after the settings of this package and may override them; those of Secure add TLS.
//
// A unary call over it that never left this machine fails with an ErrorDetail
// that says so: FromStatus makes it task.KindUnavailable, which is safe to retry.
func Dial(addr string, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	all := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(dialPlain),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: keepaliveTime, Timeout: keepaliveTimeout, PermitWithoutStream: true,
		}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: reconnectBase, Multiplier: 1.6, Jitter: 0.2, MaxDelay: reconnectMax},
			MinConnectTimeout: connectTimeout,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessage)),
		grpc.WithStaticStreamWindowSize(window),
		grpc.WithStaticConnWindowSize(window),
		// Retries need to know what is safe to send twice, which only callers do.
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithChainUnaryInterceptor(sendRequestID, markUnsent),
		grpc.WithChainStreamInterceptor(sendRequestIDOnStream),
	}
	// The name is looked up by the dialer at each attempt, so that a server that
	// comes back under another IP address is found.
	conn, err := grpc.NewClient("passthrough:///"+addr, append(all, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("prepare a connection to %s: %w", addr, err)
	}
	return conn, nil
}

// WithDialer makes connections by dial instead of TCP, for tests in memory.
func WithDialer(dial func(ctx context.Context, addr string) (net.Conn, error)) grpc.DialOption {
	return grpc.WithContextDialer(dial)
}

// ServerOptions returns the options of every gRPC server in plain text, and opts after them.
func ServerOptions(opts ...grpc.ServerOption) []grpc.ServerOption {
	return ServerOptionsWith(insecure.NewCredentials(), opts...)
}

// ServerOptionsWith returns the options of every gRPC server with these credentials, and opts after them.
func ServerOptionsWith(creds credentials.TransportCredentials, opts ...grpc.ServerOption) []grpc.ServerOption {
	a := newArrivals()
	return append([]grpc.ServerOption{
		grpc.Creds(guarded{creds, a}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: serverKeepaliveTime, Timeout: serverKeepaliveTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveMinTime, PermitWithoutStream: true}),
		grpc.MaxRecvMsgSize(maxRequestMessage),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.InTapHandle(weighHeaders),
		grpc.ForceServerCodecV2(newBoundedCodec(a.tooLarge)),
		grpc.StaticStreamWindowSize(serverWindow),
		grpc.StaticConnWindowSize(window),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.ChainUnaryInterceptor(serveCall),
		grpc.ChainStreamInterceptor(serveStream),
	}, opts...)
}

// markUnsent adds the detail of a definite failure to a call that got no stream on
// any connection: a server that is down is known not to have done anything. gRPC
// reports the peer of a call exactly when it has begun to send it.
func markUnsent(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	var to peer.Peer
	err := invoke(ctx, method, req, reply, conn, slices.Concat(opts, []grpc.CallOption{grpc.Peer(&to)})...)
	if err == nil || to.Addr != nil {
		return err
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	switch st.Code() {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
		return withDetail(status.New(st.Code(), cleanMessage(withoutTransport(st.Message()))), &rotav1.ErrorDetail{Kind: string(task.KindUnavailable)})
	default:
		return err
	}
}

// ParseAddrs parses a list of server addresses, "host:port,host:port", or names of services. Repeated
// ones are dropped; order is kept.
func ParseAddrs(list string) ([]string, error) {
	if strings.TrimSpace(list) == "" {
		return nil, task.Errorf(task.KindInvalid, "no server address: give host:port, or several with commas between them")
	}
	var addrs []string
	for part := range strings.SplitSeq(list, ",") {
		addr := strings.TrimSpace(part)
		if addr == "" {
			return nil, task.Errorf(task.KindInvalid, "server addresses %q contain an empty one: give host:port,host:port", list)
		}
		if err := CheckServer(addr); err != nil {
			return nil, err
		}
		if !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}
	return addrs, nil
}

// CheckAddr says what is wrong with one address, which must be host:port.
func CheckAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return task.Errorf(task.KindInvalid, "server address %q is malformed: expected host:port, such as 127.0.0.1:7420 or [::1]:7420", addr)
	}
	if host == "" {
		return task.Errorf(task.KindInvalid, "server address %q has no host: expected host:port", addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return task.Errorf(task.KindInvalid, "server address %q has no valid port: expected 1 to 65535", addr)
	}
	return nil
}
