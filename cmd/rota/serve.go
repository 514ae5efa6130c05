package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/transport"
	"github.com/rota-scheduler/rota/web"
	"github.com/rota-scheduler/rota/wire"
)

const (
	// drainTimeout is how long requests that are under way may take once the server
	// is asked to end. Clients go elsewhere with what is cut off.
	drainTimeout = 2 * time.Second
	// shutdownTimeout bounds the handing over of leadership.
	shutdownTimeout = 10 * time.Second
	// httpTimeout bounds a request and its answer, httpHeaderTimeout the coming of its headers,
	// and httpIdleTimeout how long a connection may wait for the next one.
	httpTimeout       = 30 * time.Second
	httpHeaderTimeout = 5 * time.Second
	httpIdleTimeout   = 60 * time.Second
	// httpHeaderBytes bounds the headers of a request.
	httpHeaderBytes = 8 << 10
)

// ports are the three open ports of a server.
type ports struct{ grpc, peer, http *wire.Door }

// turned is which connections were turned away, by port.
func (p ports) turned() map[string]wire.Turned {
	return map[string]wire.Turned{"grpc": p.grpc.Turned(), "raft": p.peer.Turned(), "http": p.http.Turned()}
}

// openPorts opens all ports before anything else is touched: a second server that
// was started by mistake must not get as far as a data folder.
func openPorts(s *serverFlags) (p ports, err error) {
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	room, err := connectionRoom()
	if err != nil {
		return p, err
	}
	if p.grpc, err = listen("--addr", s.addr, room.GRPC); err != nil {
		return p, err
	}
	if p.peer, err = listen("--peer-addr", s.peerAddr, room.Peer); err != nil {
		return p, err
	}
	p.http, err = listen("--http-addr", s.httpAddr, room.HTTP)
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

// listen opens a port for at most so many connections.
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

func (p ports) close() {
	for _, l := range []*wire.Door{p.grpc, p.peer, p.http} {
		if l != nil {
			l.Close()
		}
	}
}

// server is a running server process.
type server struct {
	log       *slog.Logger
	node      *node.Node
	peers     *transport.Peers
	transport *transport.Server
	grpc      *grpc.Server
	web       *web.Server
	http      *http.Server
	ports     ports
	// failed gets an error when a port is served no more though nobody asked for it.
	failed chan error
}

// serve runs a server until ctx ends.
func (a *app) serve(ctx context.Context, s *serverFlags) error {
	log, err := s.log.logger(a.err)
	if err != nil {
		return err
	}
	log = log.With("node", s.nodeID)
	open, err := openPorts(s)
	if err != nil {
		return err
	}
	srv, err := startServer(s, open, log)
	if err != nil {
		open.close()
		return err
	}
	telling, stopTelling := context.WithCancel(ctx)
	var told sync.WaitGroup
	told.Go(func() { newTurnedAway(log, open.turned).run(telling) })
	defer told.Wait()
	defer stopTelling()
	log.Info("serving", "version", version, "addr", s.addr, "peer_addr", s.peerAddr, "http_addr", s.httpAddr, "data_dir", s.dataDir)
	select {
	case <-ctx.Done():
		log.Info("shutting down; a second signal ends the process at once")
	case err = <-srv.failed:
		log.Error("a port is not served any more", "error", err)
	}
	return errors.Join(err, srv.stop(context.WithoutCancel(ctx)))
}

func startServer(s *serverFlags, open ports, log *slog.Logger) (*server, error) {
	peers := transport.NewPeers()
	n, err := node.Start(node.Config{
		NodeID: s.nodeID, DataDir: s.dataDir, Addr: s.addr, PeerAddr: s.peerAddr, HTTPAddr: s.httpAddr,
		BootstrapExpect: s.bootstrapExpect, Join: s.join, Peers: peers, RaftListener: open.peer,
		ElectionTimeout: s.electionTimeout, CommitTimeout: s.commitTimeout, LeaseTimeout: s.leaseTimeout,
		StallTimeout: s.stallTimeout, LogStore: s.logStore, RetentionInterval: s.retentionInterval, RetentionBytes: s.retentionBytes,
		SnapshotBytes: s.snapshotBytes, TrailingBytes: s.trailingBytes,
		Logger: log, Version: version,
		Fatal: func(err error) {
			// Nothing is closed: what cannot go on without harm must not write any more.
			log.Error("this server cannot go on", "error", err)
			os.Exit(exitError)
		},
	})
	if err != nil {
		return nil, errors.Join(err, peers.Close())
	}
	srv := &server{
		log: log, node: n, peers: peers, ports: open, failed: make(chan error, 2),
		transport: transport.New(transport.Config{Node: n, Peers: peers, Logger: log, Version: version}),
	}
	srv.grpc = grpc.NewServer(srv.transport.Options()...)
	srv.web = web.New(web.Config{Node: n, Logger: log, Version: version, Refused: srv.transport.Refused, Turned: open.turned, TooLarge: open.grpc.TooLarge, Profiles: s.pprof})
	srv.transport.Register(srv.grpc)
	srv.http = &http.Server{
		Handler: srv.web, ReadHeaderTimeout: httpHeaderTimeout, ReadTimeout: httpTimeout, WriteTimeout: httpTimeout,
		IdleTimeout: httpIdleTimeout, MaxHeaderBytes: httpHeaderBytes,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	go func() {
		if err := srv.grpc.Serve(open.grpc); err != nil {
			srv.failed <- fmt.Errorf("serve gRPC: %w", err)
		}
	}()
	go func() {
		if err := srv.http.Serve(open.http); !errors.Is(err, http.ErrServerClosed) {
			srv.failed <- fmt.Errorf("serve HTTP: %w", err)
		}
	}()
	return srv, nil
}

// stop ends the server: nobody is sent here any more, leadership goes to another server,
// what is under way is finished.
func (s *server) stop(ctx context.Context) error {
	s.web.Stopping()
	// First, so that whoever is sent away finds the next leader in its place.
	if _, leads := s.node.Ready(); leads {
		if err := s.node.TransferLeadership(ctx, ""); err != nil {
			s.log.Debug("leadership was not handed over before the end of the streams", "error", err)
		}
	}
	s.transport.Stop()
	drained := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(drained)
	}()
	timer := time.NewTimer(drainTimeout)
	defer timer.Stop()
	select {
	case <-drained:
	case <-timer.C:
		s.log.Info("some requests did not end in time and are cut off")
		s.ports.grpc.CloseAll()
		s.grpc.Stop()
	}
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	err := errors.Join(s.node.Shutdown(ctx), s.peers.Close(), s.stopHTTP(context.WithoutCancel(ctx)))
	s.log.Info("ended")
	return err
}

// stopHTTP comes last, so that /readyz says until the end that this server goes. Who has not ended
// its request by then is not waited for: it is no fault of this server's.
func (s *server) stopHTTP(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return s.http.Close()
	}
	return err
}
