package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/server"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/wire/secure"
)

// Raft does not start with less than these.
const (
	minElectionTimeout = 5 * time.Millisecond
	minCommitTimeout   = time.Millisecond
)

// maxBootstrap is how many servers may form a cluster.
const maxBootstrap = 9

// serverFlags are the flags of server start.
type serverFlags struct {
	log                      logFlags
	tls                      tlsFlags
	tlsOptional              bool
	config, nodeID, dataDir  string
	logStore                 string
	addr, peerAddr, httpAddr string
	advertise                server.Advertise
	bootstrapExpect          int
	join                     []string

	electionTimeout, commitTimeout, leaseTimeout time.Duration
	stallTimeout, retentionInterval              time.Duration
	retentionBytes, snapshotBytes, trailingBytes int64
	pprof                                        bool
}

func (a *app) serverCmd() *cobra.Command {
	var s serverFlags
	start := &cobra.Command{
		Use:   "start --node-id ID --data-dir FOLDER",
		Short: "Start a server",
		Long: "Starts one server. Start the first servers of a cluster with the same --join and\n" +
			"--bootstrap-expect. They form the cluster once all of them are up. --config names a file\n" +
			"with flags by their names; see rota config.\n\n" +
			"SIGTERM or SIGINT makes the server hand over its work and end. A second signal ends it\n" +
			"at once.",
		Example: "  rota server start --node-id n1 --data-dir /var/lib/rota --bootstrap-expect 1\n\n" +
			"  rota server start --node-id n1 --data-dir d1 --bootstrap-expect 3 \\\n" +
			"    --addr 127.0.0.1:7420 --peer-addr 127.0.0.1:7421 --http-addr 127.0.0.1:7422 \\\n" +
			"    --join 127.0.0.1:7420,127.0.0.1:7430,127.0.0.1:7440\n\n" +
			"  rota server start --config /etc/rota/rota.yaml",
		Args: wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.configured(cmd.Flags(), s.config, serverSection); err != nil {
				return err
			}
			if err := s.check(); err != nil {
				return err
			}
			return a.runServer(cmd.Context(), &s)
		},
	}
	s.add(start.Flags())
	return group("server", "Start servers", start)
}

func (s *serverFlags) add(f *pflag.FlagSet) {
	configFlag(f, &s.config)
	f.StringVar(&s.nodeID, "node-id", "", "name of this server, unique in the cluster")
	f.StringVar(&s.dataDir, "data-dir", "", "folder for the data of this server alone")
	isPath(f, "data-dir")
	f.StringVar(&s.addr, "addr", defaultAddr, "gRPC address to listen on, for clients, workers and the other servers; 0.0.0.0:7420 is all addresses")
	f.StringVar(&s.peerAddr, "peer-addr", defaultPeerAddr, "Raft address to listen on, for the other servers")
	f.StringVar(&s.httpAddr, "http-addr", "127.0.0.1:7422", "HTTP address to listen on: /livez, /readyz and /metrics")
	f.StringVar(&s.advertise.Server, "advertise", "", "host, or host:port, that others use for this server; empty: where it listens, or the only address of this machine")
	f.StringVar(&s.advertise.Raft, "advertise-peer", "", "host, or host:port, that other servers use for Raft; empty: the host of --advertise")
	f.StringVar(&s.advertise.HTTP, "advertise-http", "", "host, or host:port, that others use for HTTP; empty: the host of --advertise")
	f.IntVar(&s.bootstrapExpect, "bootstrap-expect", 0, "how many new servers form a cluster: 1, 3 or 5")
	f.StringSliceVar(&s.join, "join", nil, "gRPC addresses of the servers of the cluster, host:port,host:port; a name may stand for several servers")
	f.StringVar(&s.logStore, "log-store", "", "store of the log: wal or boltdb; a data folder keeps its first choice; empty: that choice, or wal in a new folder")
	f.DurationVar(&s.electionTimeout, "election-timeout", node.DefaultElectionTimeout, "how long a leader may be silent before the others elect a new one")
	f.DurationVar(&s.commitTimeout, "commit-timeout", node.DefaultCommitTimeout, "how soon an idle follower learns of the last commit")
	f.DurationVar(&s.leaseTimeout, "lease-timeout", node.DefaultLeaseTimeout, "how long a worker may be silent before its tasks go to others")
	f.DurationVar(&s.stallTimeout, "stall-timeout", node.DefaultStallTimeout, "how long the disk of a leader may stall before it hands leadership over")
	f.DurationVar(&s.retentionInterval, "retention-interval", node.DefaultRetentionInterval, "how often to look for finished jobs whose retention is over")
	f.Int64Var(&s.retentionBytes, "retention-bytes", 0, "size of state.db in bytes beyond which finished jobs are forgotten early; 0: no limit")
	f.Int64Var(&s.snapshotBytes, "snapshot-bytes", node.DefaultSnapshotBytes, "bytes of log between two snapshots")
	f.Int64Var(&s.trailingBytes, "trailing-bytes", node.DefaultTrailingBytes, "bytes of log to keep before a snapshot; more while another server needs them")
	f.BoolVar(&s.pprof, "pprof", false, "serve profiles of this process below /debug/pprof/ on the HTTP address")
	s.tls.add(f)
	f.BoolVar(&s.tlsOptional, "tls-optional", false, "with certificates, use plain text too, while a cluster on this machine changes to TLS server by server")
	s.log.add(f)
}

// mustStay says whether connections may be in plain text, so that they must not leave this machine.
func (s *serverFlags) mustStay() bool { return s.tls.plain() || s.tlsOptional }

// runServer runs a server until ctx ends.
func (a *app) runServer(ctx context.Context, s *serverFlags) error {
	log, err := s.log.logger(a.err)
	if err != nil {
		return err
	}
	log = log.With("node", s.nodeID)
	cfg, err := s.serverConfig(log)
	if err != nil {
		return err
	}
	if cfg.TLS, err = s.openTLS(log); err != nil {
		return err
	}
	srv, err := server.Start(cfg)
	if err != nil {
		return err
	}
	log.Info("serving", "version", version, "addr", cfg.Node.Addr, "peer_addr", cfg.Node.PeerAddr, "http_addr", cfg.Node.HTTPAddr,
		"listens", s.addr, "data_dir", s.dataDir)
	a.notify(log, notifyReady)
	select {
	case <-ctx.Done():
		log.Info("shutting down; a second signal ends the process at once")
	case <-srv.Removed(): // the log says so
	case err = <-srv.Failed():
		log.Error("a port is not served any more", "error", err)
	}
	a.notify(log, notifyStopping)
	return errors.Join(err, srv.Stop(context.WithoutCancel(ctx)))
}

// openTLS loads the certificates of the server; nil: connections are in plain text.
func (s *serverFlags) openTLS(log *slog.Logger) (*secure.Config, error) {
	c, err := s.tls.open(log)
	if err == nil && c == nil && s.tlsOptional {
		err = usagef("--tls-optional needs certificates: make them with rota tls init, and name them with --tls-ca, --tls-cert and --tls-key")
	}
	if err != nil || c == nil {
		return nil, err
	}
	if self, ok := c.Self(); !ok || self.Role != task.RoleServer {
		return nil, usagef("a server needs a certificate with the role server: make one with rota tls cert --role server, and name it with --tls-cert")
	}
	return c, nil
}

func (s *serverFlags) serverConfig(log *slog.Logger) (server.Config, error) {
	listen := s.listen()
	use, err := server.Advertised(listen, s.advertise)
	if err != nil {
		return server.Config{}, usageOf(err)
	}
	return server.Config{
		Listen: listen,
		Node: node.Config{
			NodeID: s.nodeID, DataDir: s.dataDir, Addr: use.GRPC, PeerAddr: use.Raft, HTTPAddr: use.HTTP,
			BootstrapExpect: s.bootstrapExpect, Join: s.join,
			ElectionTimeout: s.electionTimeout, CommitTimeout: s.commitTimeout, LeaseTimeout: s.leaseTimeout,
			StallTimeout: s.stallTimeout, LogStore: s.logStore, RetentionInterval: s.retentionInterval, RetentionBytes: s.retentionBytes,
			SnapshotBytes: s.snapshotBytes, TrailingBytes: s.trailingBytes,
			Logger: log, Version: version,
			Fatal: func(err error) {
				// Close nothing: a server that cannot go on without harm must not write any more.
				log.Error("this server cannot go on", "error", err)
				os.Exit(exitError)
			},
		},
		TLSOptional: s.tlsOptional, Insecure: s.tls.insecure,
		Profiles: s.pprof,
	}, nil
}

// listen is what the server listens on.
func (s *serverFlags) listen() server.Addrs {
	return server.Addrs{GRPC: s.addr, Raft: s.peerAddr, HTTP: s.httpAddr}
}

// check finds mistakes in the flags before anything is opened.
func (s *serverFlags) check() error {
	switch {
	case s.nodeID == "":
		return usagef("a server needs a name: set --node-id")
	case task.ValidNodeID("--node-id", s.nodeID) != nil:
		return usagef("%v", task.ValidNodeID("--node-id", s.nodeID))
	case s.dataDir == "":
		return usagef("a server needs a folder of its own: set --data-dir")
	case s.bootstrapExpect < 0 || s.bootstrapExpect > maxBootstrap || s.bootstrapExpect > 0 && s.bootstrapExpect%2 == 0:
		return usagef("--bootstrap-expect %d makes no sense: use 1, 3 or 5, because an even number survives no more losses", s.bootstrapExpect)
	case s.bootstrapExpect > 1 && len(s.join) == 0:
		return usagef("--bootstrap-expect %d needs the addresses of these servers: set --join", s.bootstrapExpect)
	}
	if s.logStore != "" && s.logStore != node.LogStoreBolt && s.logStore != node.LogStoreWAL {
		return usagef("--log-store %q is not known: use %s or %s", s.logStore, node.LogStoreWAL, node.LogStoreBolt)
	}
	if err := s.checkAddrs(); err != nil {
		return err
	}
	return s.checkBounds()
}

// checkAddrs finds mistakes in the addresses.
func (s *serverFlags) checkAddrs() error {
	seen := map[string]string{}
	for _, p := range []struct{ flag, addr string }{{"--addr", s.addr}, {"--peer-addr", s.peerAddr}, {"--http-addr", s.httpAddr}} {
		if err := s.checkListen(p.flag, p.addr); err != nil {
			return err
		}
		if other := seen[p.addr]; other != "" {
			return usagef("%s and %s are both %s: each needs a port of its own", other, p.flag, p.addr)
		}
		seen[p.addr] = p.flag
	}
	if err := s.checkAdvertised(); err != nil {
		return err
	}
	for _, addr := range s.join {
		err := wire.CheckServer(addr)
		if err == nil && s.mustStay() {
			err = wire.CheckPlain(addr) // the server would wait for it for ever
		}
		if err != nil {
			return usagef("--join: %v", err)
		}
	}
	return nil
}

// checkAdvertised finds out whether others can use what they are told to use.
func (s *serverFlags) checkAdvertised() error {
	use, err := server.Advertised(s.listen(), s.advertise)
	if err != nil || !s.mustStay() {
		return usageOf(err)
	}
	for _, addr := range []string{use.GRPC, use.Raft} {
		if err := wire.CheckPlain(addr); err != nil {
			return usageOf(err)
		}
	}
	return nil
}

// checkBounds finds durations and sizes that are too small.
func (s *serverFlags) checkBounds() error {
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{
		{"--election-timeout", s.electionTimeout}, {"--commit-timeout", s.commitTimeout}, {"--lease-timeout", s.leaseTimeout},
		{"--stall-timeout", s.stallTimeout}, {"--retention-interval", s.retentionInterval},
	} {
		if d.value < 0 {
			return usagef("%s %v is negative", d.flag, d.value)
		}
	}
	if s.electionTimeout > 0 && s.electionTimeout < minElectionTimeout {
		return usagef("--election-timeout %v is out of range: use %v or more", s.electionTimeout, minElectionTimeout)
	}
	if s.commitTimeout > 0 && s.commitTimeout < minCommitTimeout {
		return usagef("--commit-timeout %v is out of range: use %v or more", s.commitTimeout, minCommitTimeout)
	}
	if s.snapshotBytes < 0 || s.trailingBytes < 0 || s.retentionBytes < 0 {
		return usagef("--snapshot-bytes, --trailing-bytes and --retention-bytes must not be negative")
	}
	return nil
}

// checkListen allows loopback addresses only, if connections are in plain text.
func (s *serverFlags) checkListen(flag, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return usagef("%s: %v", flag, wire.CheckAddr(addr))
	}
	if err := wire.CheckAddr(net.JoinHostPort(cmp.Or(host, "0.0.0.0"), port)); err != nil {
		return usagef("%s: %v", flag, err)
	}
	if !s.mustStay() || wire.Loopback(host) {
		return nil
	}
	if s.tlsOptional {
		return usagef("%s %s is beyond this machine, and --tls-optional uses plain text too: leave it out, or use a loopback address such as 127.0.0.1", flag, addr)
	}
	return usagef("%s %s would serve plain text beyond this machine. Make certificates (rota tls init HOST...), and name them (--tls-ca ca.crt --tls-cert server.crt --tls-key server.key); or use a loopback address such as 127.0.0.1", flag, addr)
}

// checkLoopback allows loopback addresses only, with any port, also 0.
func checkLoopback(flag, addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return usagef("%s: %v", flag, err)
	}
	if wire.Loopback(host) {
		return nil
	}
	return usagef("%s %s would serve plain text beyond this machine: use a loopback address such as 127.0.0.1", flag, addr)
}
