package localcluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/atomicfile"
	"github.com/rota-scheduler/rota/internal/ports"
	"github.com/rota-scheduler/rota/internal/process"
	"github.com/rota-scheduler/rota/internal/ticks"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/wire/secure"
)

const (
	layoutFile = "cluster.json"
	// pollEvery is how often the cluster is asked for its workers or its leader.
	pollEvery = 20 * time.Millisecond
)

// Config is what a cluster is made of.
type Config struct {
	// Binary is the rota to run; empty: this process's own program.
	Binary string
	// Dir is the cluster's folder. It is made when it is not there. A folder that has
	// a cluster already is taken up with its names and ports.
	Dir string
	// Servers and Workers say how many there are.
	Servers, Workers int
	// Slots of each worker; 0: the worker's default.
	Slots int
	// FirstPort is that of the first server; others follow in tens. 0, or one of them
	// taken: free ports are chosen.
	FirstPort int
	// ServerFlags and WorkerFlags are further flags of the processes.
	ServerFlags, WorkerFlags []string
	// TLS secures all connections, with certificates that are made in the cluster's folder.
	TLS bool
	// Env is added to the environment of the processes.
	Env []string
}

// Cluster is the processes of one cluster.
type Cluster struct {
	cfg     Config
	certs   *certificates // nil: connections are in plain text
	Servers []*Process
	Workers []*Process
}

// layout is what is kept of a cluster: its servers must find each other again.
type layout struct {
	Servers []serverLayout `json:"servers"`
}

type serverLayout struct {
	Name     string `json:"name"`
	Addr     string `json:"addr"`
	PeerAddr string `json:"peer_addr"`
	HTTPAddr string `json:"http_addr"`
}

// New chooses names, ports and folders of a cluster. It starts nothing.
func New(cfg Config) (*Cluster, error) {
	if cfg.Binary == "" {
		// Not the name it was started by: the file may have been replaced since.
		cfg.Binary = "/proc/self/exe"
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	cfg.Dir = dir
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the cluster's folder: %w", err)
	}
	l, err := loadLayout(cfg)
	if err != nil {
		return nil, err
	}
	c := &Cluster{cfg: cfg}
	if cfg.TLS {
		if c.certs, err = openCertificates(cfg.Dir); err != nil {
			return nil, err
		}
	}
	for _, s := range l.Servers {
		c.Servers = append(c.Servers, c.serverProcess(s, l))
	}
	for i := range cfg.Workers {
		c.Workers = append(c.Workers, c.workerProcess("w"+strconv.Itoa(i+1)))
	}
	return c, nil
}

func loadLayout(cfg Config) (layout, error) {
	var l layout
	path := filepath.Join(cfg.Dir, layoutFile)
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return makeLayout(cfg, path)
	case err != nil:
		return l, fmt.Errorf("read the cluster's layout: %w", err)
	}
	if err := json.Unmarshal(data, &l); err != nil || len(l.Servers) == 0 {
		return l, fmt.Errorf("%s is damaged: use another folder", path)
	}
	if len(l.Servers) != cfg.Servers {
		return l, fmt.Errorf("%s is of a cluster of %d servers, not %d: ask for as many, or use another folder", cfg.Dir, len(l.Servers), cfg.Servers)
	}
	return l, nil
}

func makeLayout(cfg Config, path string) (layout, error) {
	var l layout
	chosen, err := choosePorts(cfg.FirstPort, cfg.Servers)
	if err != nil {
		return l, err
	}
	for i, p := range chosen {
		l.Servers = append(l.Servers, serverLayout{
			Name: "n" + strconv.Itoa(i+1), Addr: ports.Loopback(p), PeerAddr: ports.Loopback(p + 1), HTTPAddr: ports.Loopback(p + 2),
		})
	}
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return l, err
	}
	if err := atomicfile.Write(path, append(data, '\n')); err != nil {
		return l, fmt.Errorf("write the cluster's layout: %w", err)
	}
	return l, nil
}

func (c *Cluster) serverProcess(s serverLayout, l layout) *Process {
	addrs := make([]string, len(l.Servers))
	for i := range l.Servers {
		addrs[i] = l.Servers[i].Addr
	}
	p := c.process(s.Name, "server", "start", "--node-id", s.Name, "--data-dir", filepath.Join(c.cfg.Dir, s.Name),
		"--addr", s.Addr, "--peer-addr", s.PeerAddr, "--http-addr", s.HTTPAddr,
		"--bootstrap-expect", strconv.Itoa(len(addrs)), "--join", strings.Join(addrs, ","))
	p.Addr, p.PeerAddr, p.HTTPAddr = s.Addr, s.PeerAddr, s.HTTPAddr
	c.secure(p, task.RoleServer)
	p.AddArgs(c.cfg.ServerFlags...)
	return p
}

func (c *Cluster) workerProcess(name string) *Process {
	p := c.process(name, "worker", "start", "--name", name, "--addr", strings.Join(c.Addrs(), ","),
		"--data-dir", filepath.Join(c.cfg.Dir, name))
	if c.cfg.Slots > 0 {
		p.AddArgs("--slots", strconv.Itoa(c.cfg.Slots))
	}
	c.secure(p, task.RoleWorker)
	p.AddArgs(c.cfg.WorkerFlags...)
	return p
}

func (c *Cluster) process(name string, args ...string) *Process {
	return &Process{Process: process.New(process.Config{
		Name: name, LogFile: filepath.Join(c.cfg.Dir, name+".log"), Path: c.cfg.Binary, Args: args,
		// What is set here is for those who use the cluster, not for its processes.
		Env: append(process.Environ(), c.cfg.Env...),
		// The path may be that of this process's own program.
		Prepare: func(cmd *exec.Cmd) { cmd.Args[0] = "rota" },
	})}
}

// Move gives a server, which must not run, other ports for its next start. The others are
// not told.
func (c *Cluster) Move(p *Process) error {
	port, err := ports.Take(serverPorts)
	if err != nil {
		return err
	}
	p.Addr, p.PeerAddr, p.HTTPAddr = ports.Loopback(port), ports.Loopback(port+1), ports.Loopback(port+2)
	p.SetFlag("--addr", p.Addr)
	p.SetFlag("--peer-addr", p.PeerAddr)
	p.SetFlag("--http-addr", p.HTTPAddr)
	return nil
}

// ReleasePorts lets other clusters of this machine have the ports of this one, all of whose processes
// have ended. The end of this process does so, too.
func (c *Cluster) ReleasePorts() {
	for _, s := range c.Servers {
		if addr, err := netip.ParseAddrPort(s.Addr); err == nil {
			ports.Release(int(addr.Port()))
		}
	}
}

// Addrs is the gRPC addresses of the servers.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		addrs[i] = s.Addr
	}
	return addrs
}

// Server returns the server with a node id, or nil.
func (c *Cluster) Server(id string) *Process {
	for _, s := range c.Servers {
		if s.Name == id {
			return s
		}
	}
	return nil
}

// Processes is all processes, servers first.
func (c *Cluster) Processes() []*Process {
	return append(append([]*Process{}, c.Servers...), c.Workers...)
}

// Client returns a client of the cluster, which the caller closes.
func (c *Cluster) Client() (*client.Client, error) {
	return client.New(client.Config{Addrs: c.Addrs(), DialOptions: c.DialOptions()})
}

// TLS is that of clients in this process, whose files nobody watches; nil: connections are in plain text.
func (c *Cluster) TLS() *secure.Config { return c.certs.config() }

// ClientFlags are those of a command that is a client of the cluster.
func (c *Cluster) ClientFlags() []string {
	return append([]string{"--addr", strings.Join(c.Addrs(), ",")}, c.certs.flags(task.RoleAdmin)...)
}

// ClientEnv is the environment of such a command instead of its flags.
func (c *Cluster) ClientEnv() []string {
	env := []string{"ROTA_ADDR=" + strings.Join(c.Addrs(), ",")}
	if c.certs != nil {
		f := c.certs.files(task.RoleAdmin)
		env = append(env, "ROTA_CACERT="+f.CA, "ROTA_CLIENT_CERT="+f.Cert, "ROTA_CLIENT_KEY="+f.Key)
	}
	return env
}

// DialOptions are those of a gRPC connection to a server; none: it is in plain text.
func (c *Cluster) DialOptions() []grpc.DialOption { return wire.Secure(c.certs.config()) }

// Start starts every process that does not run, and waits until the cluster serves.
func (c *Cluster) Start(ctx context.Context) error {
	for _, p := range c.Processes() {
		if p.Running() {
			continue
		}
		if err := p.Start(); err != nil {
			return err
		}
	}
	return c.WaitReady(ctx)
}

// WaitReady waits until every server is ready and every worker is attached. A
// process that ends meanwhile is an error, with the end of its log.
func (c *Cluster) WaitReady(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, p := range c.Processes() {
		go func() {
			select {
			case <-p.Done():
				cancel(p.Ended())
			case <-ctx.Done():
			}
		}()
	}
	for _, s := range c.Servers {
		if err := s.WaitReady(ctx); err != nil {
			return causeOf(ctx, err)
		}
	}
	if len(c.Workers) == 0 {
		return nil
	}
	return causeOf(ctx, c.waitWorkers(ctx))
}

// causeOf is why a context ended, if that is what broke; otherwise err.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		return cause
	}
	return err
}

func (c *Cluster) waitWorkers(ctx context.Context) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	defer cl.Close()
	for {
		workers, err := cl.Workers(ctx, client.WorkersOptions{})
		if err != nil {
			return fmt.Errorf("wait for the workers: %w", err)
		}
		attached := map[string]bool{}
		for _, w := range workers {
			if w.Connected {
				attached[w.Name] = true
			}
		}
		missing := ""
		for _, w := range c.Workers {
			if !attached[w.Name] {
				missing = w.Name
			}
		}
		if missing == "" {
			return nil
		}
		if !ticks.Sleep(ctx, pollEvery) {
			return fmt.Errorf("wait for worker %s: %w", missing, ctx.Err())
		}
	}
}

// WaitLeader waits until some server leads other than those named, and returns what
// the servers say of themselves then.
func (c *Cluster) WaitLeader(ctx context.Context, except ...string) (client.ClusterInfo, error) {
	cl, err := c.Client()
	if err != nil {
		return client.ClusterInfo{}, err
	}
	defer cl.Close()
	for {
		info, err := cl.Status(ctx)
		if err == nil && info.Leader != "" && !contains(except, info.Leader) {
			return info, nil
		}
		if !ticks.Sleep(ctx, pollEvery) {
			return info, errors.Join(fmt.Errorf("wait for a leader: %w", ctx.Err()), err)
		}
	}
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

// Stop ends all processes in good order, the workers first, and kills what does not
// end in time or before ctx does.
func (c *Cluster) Stop(ctx context.Context) error {
	var errs []error
	for _, group := range [][]*Process{c.Workers, c.Servers} {
		results := make([]error, len(group))
		var parts sync.WaitGroup
		for i, p := range group {
			parts.Go(func() { results[i] = p.Stop(ctx) })
		}
		parts.Wait()
		errs = append(errs, results...)
	}
	return errors.Join(errs...)
}

// Kill kills all processes at once.
func (c *Cluster) Kill() {
	for _, p := range c.Processes() {
		p.Kill()
	}
}
