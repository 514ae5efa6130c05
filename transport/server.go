package transport

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/protobuf/proto"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/internal/loglimit"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/transport/access"
	"github.com/rota-scheduler/rota/transport/peerpb"
	"github.com/rota-scheduler/rota/wire"
)

// Config is what a Server is made of.
type Config struct {
	Node   *node.Node
	Peers  *Peers
	Logger *slog.Logger
	// Version is the version of this build.
	Version string
	// Credentials secure the connections, and everybody is asked who they are. nil: connections are in plain text, and
	// nobody can be told from anybody else.
	Credentials credentials.TransportCredentials
	// Plain says that the credentials take plain text as well.
	Plain bool
}

// Server serves one node over gRPC.
type Server struct {
	rotav1.UnimplementedJobServiceServer
	rotav1.UnimplementedWorkerServiceServer
	rotav1.UnimplementedClusterServiceServer
	rotav1.UnimplementedAccessServiceServer
	rotav1.UnimplementedEventServiceServer
	peerpb.UnimplementedPeerServiceServer

	node  *node.Node
	peers *Peers
	// credentials are nil if connections are in plain text.
	credentials credentials.TransportCredentials
	log         *slog.Logger
	// lines is the log for events that others cause.
	lines   *loglimit.Lines
	version string
	health  *health.Server
	// verifies compares the states of all servers, and walks goes through the whole state of this server. Anybody who
	// reaches a port may ask for them.
	verifies *rounds[*rotav1.VerifyResponse]
	walks    *rounds[[]string]
	// freshens makes the state of this server as fresh as the leader's.
	freshens *rounds[struct{}]
	// guard is nil if nobody is asked who they are.
	guard *access.Guard
	// following counts the jobs that streams of submits follow; mostFollowed bounds them.
	following    atomic.Int64
	mostFollowed int64
	// logs are the streams on which workers send what their commands print.
	logs *logStreams
	// refused counts reported tasks that were not recorded: late, or sent again.
	refused atomic.Int64
	// saving is locked while a backup is being sent.
	saving   sync.Mutex
	measures measures
	// eventStreams counts the clients that follow events.
	eventStreams atomic.Int64

	// stopping ends when the server stops: streams end then.
	stopping context.Context
	stop     context.CancelFunc
	wg       sync.WaitGroup
	// begun is the goroutines that handlers have started. They end with their streams, or just after.
	begun sync.WaitGroup
}

// New returns a server for a node.
func New(cfg Config) *Server {
	s := &Server{node: cfg.Node, peers: cfg.Peers, credentials: cfg.Credentials, log: cfg.Logger, lines: loglimit.New(cfg.Logger), version: cfg.Version, health: health.NewServer(), mostFollowed: maxAllFollowed, logs: newLogStreams()}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.verifies = newRounds(s.stopping, &s.begun, s.verify)
	s.walks = newRounds(s.stopping, &s.begun, func() ([]string, error) { return s.node.State().Machine().CheckInvariants(), nil })
	s.freshens = newRounds(s.stopping, &s.begun, s.freshen)
	if cfg.Credentials != nil {
		s.guard = access.New(access.Config{State: accessState{s}, Logger: cfg.Logger, Plain: cfg.Plain})
	}
	return s
}

// Options are those of the gRPC server that serves this one.
func (s *Server) Options() []grpc.ServerOption {
	creds := s.credentials
	if creds == nil {
		creds = insecure.NewCredentials()
	}
	return wire.ServerOptionsWith(creds, slices.Concat(s.callOptions(), s.guardOptions(), []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, call *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			if err := wire.CheckAddrs(ctx, s.node.AllAddrs); err != nil {
				return nil, err
			}
			if err := checkKnown(call.FullMethod, req); err != nil {
				return nil, wire.ToStatus(err)
			}
			return handle(ctx, req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			if err := wire.CheckAddrs(stream.Context(), s.node.AllAddrs); err != nil {
				return err
			}
			return handle(srv, stream)
		}),
	})...)
}

// checkKnown refuses requests of clients with fields that this build does not know. It does not look at the messages
// within. Servers of two builds must understand each other, and whoever upgrades a cluster must always get its status.
func checkKnown(method string, req any) error {
	m, ok := req.(proto.Message)
	if !ok || method == rotav1.ClusterService_Status_FullMethodName || m.ProtoReflect().Descriptor().ParentFile().Package() != publicAPI {
		return nil
	}
	return wire.CheckKnown(m)
}

// publicAPI is the package of what clients and workers ask for.
var publicAPI = rotav1.File_rota_v1_jobs_proto.Package()

// Register registers all services. It fails if a call has no rule of access.
func (s *Server) Register(g *grpc.Server) error {
	rotav1.RegisterJobServiceServer(g, s)
	rotav1.RegisterWorkerServiceServer(g, s)
	rotav1.RegisterClusterServiceServer(g, s)
	rotav1.RegisterAccessServiceServer(g, s)
	rotav1.RegisterEventServiceServer(g, s)
	peerpb.RegisterPeerServiceServer(g, s)
	healthpb.RegisterHealthServer(g, s.health)
	reflection.Register(g)
	if err := s.setRules(g); err != nil {
		return err
	}
	s.wg.Go(s.followHealth)
	return nil
}

// Stop ends all streams, so that a graceful stop of the gRPC server need not wait for
// them.
func (s *Server) Stop() {
	s.stop()
	s.wg.Wait()
	s.lines.Close()
}

// Wait returns when all goroutines of handlers have ended. Call it once the gRPC server and its handlers have ended.
func (s *Server) Wait() { s.begun.Wait() }

// streamContext ends with the stream or with the server.
func (s *Server) streamContext(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.stopping, cancel)
	return ctx, func() { stop(); cancel() }
}
