package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
	"github.com/rota-scheduler/rota/jepsen-tests/network"
	"github.com/rota-scheduler/rota/wire"
)

// probeTimeout bounds one question whether a server is ready.
const probeTimeout = time.Second

// changeTimeout bounds one request to change the servers.
const changeTimeout = 5 * time.Second

// Client returns an SDK client on a host, which the caller closes.
func (c *Cluster) Client(host *network.Host) (*client.Client, error) {
	return client.New(client.Config{Addrs: c.Addrs(), DialOptions: []grpc.DialOption{from(host)}})
}

func from(host *network.Host) grpc.DialOption {
	return wire.WithDialer(func(ctx context.Context, addr string) (net.Conn, error) { return host.Dial(ctx, addr) })
}

// Conn is a connection to one server and no other.
type Conn struct {
	Jobs    rotav1.JobServiceClient
	Cluster rotav1.ClusterServiceClient
	Workers rotav1.WorkerServiceClient

	conn *grpc.ClientConn
}

// Close closes the connection.
func (c *Conn) Close() error { return c.conn.Close() }

// Dial returns a connection from a host to a server.
func (s *Server) Dial(host *network.Host) (*Conn, error) {
	conn, err := wire.Dial(s.Addr, from(host))
	if err != nil {
		return nil, err
	}
	return &Conn{rotav1.NewJobServiceClient(conn), rotav1.NewClusterServiceClient(conn), rotav1.NewWorkerServiceClient(conn), conn}, nil
}

// At returns a connection to a server from its own host, which no cut hinders.
func (s *Server) At() (*Conn, error) { return s.Dial(s.Host) }

// WaitReady waits until the server says that it is ready.
func (s *Server) WaitReady(ctx context.Context) error {
	return s.Await(ctx, "server "+s.Name, s.ready)
}

func (s *Server) ready(ctx context.Context) error {
	status, body, err := s.get(ctx, "/readyz")
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return errors.New(strings.TrimSpace(body))
	}
	return nil
}

// maxAnswer bounds an answer over HTTP, bytes.
const maxAnswer = 1 << 20

// get asks the server over HTTP, from its own host.
func (s *Server) get(ctx context.Context, path string) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	probes := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, addr string) (net.Conn, error) { return s.Host.Dial(ctx, addr) },
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.HTTPAddr+path, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := probes.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, string(data), err
}

// Metrics is what the server measures of itself, in the text format of Prometheus.
func (s *Server) Metrics(ctx context.Context) (string, error) {
	_, body, err := s.get(ctx, "/metrics")
	return body, err
}

// Counter reads one of the server's metrics that has no labels.
func (s *Server) Counter(ctx context.Context, name string) (int64, error) {
	body, err := s.Metrics(ctx)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(body) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return int64(n), err
		}
	}
	return 0, fmt.Errorf("%s has no metric %s", s.Name, name)
}

// waitWorkers waits until every worker has a session.
func (c *Cluster) waitWorkers(ctx context.Context) error {
	if len(c.Workers) == 0 {
		return nil
	}
	cl, err := c.Client(c.Servers[0].Host)
	if err != nil {
		return err
	}
	defer cl.Close()
	return Await(ctx, "the workers", func() error {
		workers, err := cl.Workers(ctx, client.WorkersOptions{})
		if err != nil {
			return err
		}
		connected := 0
		for _, w := range workers {
			if w.Connected {
				connected++
			}
		}
		if connected < len(c.Workers) {
			return fmt.Errorf("%d of %d are attached", connected, len(c.Workers))
		}
		return nil
	})
}

// Identity is the id that the cluster has for a server of this name, which was made with
// its data folder, and whether it votes under it; "": it is no part of the cluster, as far
// as anybody knows.
func (c *Cluster) Identity(ctx context.Context, s *Server) (id string, voter bool, err error) {
	cl, err := c.Client(s.Host)
	if err != nil {
		return "", false, err
	}
	defer cl.Close()
	info, err := cl.Status(ctx)
	if err != nil {
		return "", false, err
	}
	for _, other := range info.Servers {
		if other.ID == s.Name {
			return other.ServerID, other.Voter, nil
		}
	}
	return "", false, nil
}

// Replace kills a server, takes its data away, starts it with an empty folder, and
// waits until it votes under an identity that it never had, and is ready.
func (c *Cluster) Replace(ctx context.Context, s *Server) error {
	// While it catches up, it reports itself as it was at that place of the log.
	err := Await(ctx, "the identity of "+s.Name, func() error {
		id, _, err := c.Identity(ctx, s)
		if err == nil && id == "" {
			err = errors.New("nobody knows it")
		}
		if err == nil {
			s.identities[id] = true
		}
		return err
	})
	if err != nil {
		return err
	}
	s.Kill()
	s.loseData()
	if err := s.Start(); err != nil {
		return err
	}
	err = s.Await(ctx, "a vote of "+s.Name+" under a new identity", func(ctx context.Context) error {
		ask, done := context.WithTimeout(ctx, probeTimeout)
		defer done()
		id, voter, err := c.Identity(ask, s)
		if err == nil && (s.identities[id] || !voter) {
			err = fmt.Errorf("it is known as %q, and votes: %v", id, voter)
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.WaitReady(ctx)
}

// AwaitRise waits until the version of the log is the newest one that all servers know.
func (c *Cluster) AwaitRise(ctx context.Context) error {
	return Await(ctx, "the rise of the version", func() error {
		ask, done := context.WithTimeout(ctx, probeTimeout)
		defer done()
		for _, s := range c.Servers {
			if err := s.risen(ask); err != nil {
				return err
			}
		}
		return nil
	})
}

// risen returns why the server is not at the newest version that all know.
func (s *Server) risen(ctx context.Context) error {
	conn, err := s.At()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	status, err := conn.Cluster.Status(ctx, &rotav1.StatusRequest{})
	if err != nil {
		return err
	}
	for _, other := range status.GetServers() {
		if known := other.GetKnows(); known != status.GetActiveVersion() {
			return fmt.Errorf("%s is at version %d, and %s knows %d", s.Name, status.GetActiveVersion(), other.GetId(), known)
		}
	}
	return nil
}

// Digests compares the states of all servers at one log index, as the leader sees them.
func (c *Cluster) Digests(ctx context.Context) (history.Digests, error) {
	cl, err := c.Client(c.Servers[0].Host)
	if err != nil {
		return history.Digests{}, err
	}
	defer cl.Close()
	info, err := cl.Verify(ctx)
	if err != nil {
		return history.Digests{}, fmt.Errorf("compare the servers: %w", err)
	}
	digests := history.Digests{Index: info.Index}
	for _, s := range info.Servers {
		digests.Servers = append(digests.Servers, history.Digest{
			Node: s.ID, Index: s.Index, Digest: strconv.FormatUint(s.Digest, 16), Error: s.Error, Violations: s.Violations,
		})
	}
	return digests, nil
}
