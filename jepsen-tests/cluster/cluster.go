package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rota-scheduler/rota/internal/process"
	"github.com/rota-scheduler/rota/jepsen-tests/clock"
	"github.com/rota-scheduler/rota/jepsen-tests/disk"
	"github.com/rota-scheduler/rota/jepsen-tests/network"
)

// The last byte of the addresses of hosts counts from these.
const (
	firstServer = 10
	firstWorker = 100
	firstClient = 200
)

// Config is what a cluster is made of.
type Config struct {
	// Binary is the rota to run, Next the build that servers are upgraded to; "": there is none.
	Binary, Next string
	// Dir is a new folder for data and logs.
	Dir string
	// Servers, Workers and ClientHosts say how many there are; Slots is each worker's.
	Servers, Workers, ClientHosts, Slots int
	// ServerFlags and WorkerFlags are further flags.
	ServerFlags, WorkerFlags []string
	Seed                     uint64
	// Network and Disk: hosts and disks of their own, which can be harmed. Clock: the binary
	// is one of package clock, and each process has a wall clock of its own.
	Network, Disk, Clock bool
	// OnExit is told of a process that ended though nobody asked it to.
	OnExit func(p *Process, code int)
}

// Cluster is the processes, with their hosts and disks.
type Cluster struct {
	Servers []*Server
	Workers []*Process
	Clients []*network.Host
	// Switch is nil if hosts have no network of their own.
	Switch *network.Switch

	cfg Config
}

// Server is a server process and its disk.
type Server struct {
	*Process
	Addr, PeerAddr, HTTPAddr string
	// Disk is nil if it is this machine's.
	Disk *disk.Disk

	// seen is the path of the folder with the server's data folders as the server sees it, below as the harness sees
	// it. replaced counts the data folders before this one.
	seen, below string
	replaced    atomic.Int64
	// identities is those that it had before it was replaced.
	identities map[string]bool
	// builds is the build of the beginning and the next one, next which of them the server is started with.
	builds [2]string
	next   atomic.Bool
}

// Ports is the addresses that it listens on: for clients and workers, for servers, for HTTP.
func (s *Server) Ports() []string { return []string{s.Addr, s.PeerAddr, s.HTTPAddr} }

// dataFlag names the folder of a server's data, which changes when it loses it.
const dataFlag = "--data-dir"

// Data is the server's data folder, from below its disk.
func (s *Server) Data() string { return filepath.Join(s.below, s.dataName()) }

func (s *Server) dataName() string {
	n := s.replaced.Load()
	if n == 0 {
		return "data"
	}
	return "data-" + strconv.FormatInt(n+1, 10)
}

// loseData takes the server's data away: it will start with an empty folder. The old one
// stays, for people to look at. It must not run.
func (s *Server) loseData() {
	s.replaced.Add(1)
	s.SetFlag(dataFlag, filepath.Join(s.seen, s.dataName()))
	if s.builds[1] != "" {
		s.Install(true) // while it has no vote, the version may rise, and an older build would not be let in
	}
}

// Install makes the next build, or the one of the beginning again, that which the server is started with from now on.
func (s *Server) Install(next bool) {
	s.next.Store(next)
	s.SetBinary(s.builds[index(next)])
}

// Next says whether that is the next build.
func (s *Server) Next() bool { return s.next.Load() }

func index(next bool) int {
	if next {
		return 1
	}
	return 0
}

// New makes hosts and disks, and starts nothing.
func New(cfg Config) (c *Cluster, err error) {
	c = &Cluster{cfg: cfg}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if cfg.Network {
		c.Switch = network.NewSwitch(cfg.Seed)
	}
	if err := os.MkdirAll(filepath.Join(cfg.Dir, "tmp"), 0o700); err != nil {
		return c, fmt.Errorf("make the cluster's folder: %w", err)
	}
	// Two runs on one machine should not meet. A seed does not repeat this choice.
	prefix := fmt.Sprintf("127.%d.%d.", 2+rand.IntN(250), rand.IntN(256))
	for i := range cfg.Servers {
		if err := c.addServer(i, prefix); err != nil {
			return c, err
		}
	}
	for _, s := range c.Servers {
		s.AddArgs("--join", strings.Join(c.Addrs(), ","), "--bootstrap-expect", strconv.Itoa(cfg.Servers))
		s.AddArgs(cfg.ServerFlags...)
	}
	for i := range cfg.Workers {
		host, err := c.host(prefix, firstWorker+i)
		if err != nil {
			return c, err
		}
		name := "w" + strconv.Itoa(i+1)
		p, err := c.process(name, host, "worker", "start", "--name", name, "--addr", strings.Join(c.Addrs(), ","),
			dataFlag, filepath.Join(cfg.Dir, name), "--slots", strconv.Itoa(max(1, cfg.Slots)))
		if err != nil {
			return c, err
		}
		p.AddArgs(cfg.WorkerFlags...)
		c.Workers = append(c.Workers, p)
	}
	for i := range cfg.ClientHosts {
		host, err := c.host(prefix, firstClient+i)
		if err != nil {
			return c, err
		}
		c.Clients = append(c.Clients, host)
	}
	return c, nil
}

func (c *Cluster) host(prefix string, number int) (*network.Host, error) {
	addr, err := netip.ParseAddr(prefix + strconv.Itoa(number))
	if err != nil {
		return nil, err
	}
	if c.Switch == nil {
		return network.Local(addr), nil
	}
	return c.Switch.AddHost(addr)
}

func (c *Cluster) addServer(i int, prefix string) error {
	host, err := c.host(prefix, firstServer+i)
	if err != nil {
		return err
	}
	name := "n" + strconv.Itoa(i+1)
	s := &Server{
		identities: map[string]bool{}, builds: [2]string{c.cfg.Binary, c.cfg.Next}, Addr: net.JoinHostPort(host.Addr.String(), "7420"),
		PeerAddr: net.JoinHostPort(host.Addr.String(), "7421"), HTTPAddr: net.JoinHostPort(host.Addr.String(), "7422"),
	}
	s.seen = filepath.Join(c.cfg.Dir, name)
	s.below = s.seen
	if c.cfg.Disk {
		s.below = filepath.Join(c.cfg.Dir, name+".disk")
		if s.Disk, err = disk.Mount(s.below, s.seen, c.cfg.Seed+uint64(i)); err != nil {
			return err
		}
	}
	if s.Process, err = c.process(name, host, "server", "start", "--node-id", name, dataFlag, filepath.Join(s.seen, s.dataName()),
		"--addr", s.Addr, "--peer-addr", s.PeerAddr, "--http-addr", s.HTTPAddr); err != nil {
		if s.Disk != nil {
			err = errors.Join(err, s.Disk.Unmount())
		}
		return err
	}
	c.Servers = append(c.Servers, s)
	return nil
}

func (c *Cluster) process(name string, host *network.Host, args ...string) (*Process, error) {
	p := &Process{Host: host}
	env := append(process.Environ(), "TMPDIR="+filepath.Join(c.cfg.Dir, "tmp"))
	if c.cfg.Clock {
		var err error
		if p.Clock, err = clock.New(filepath.Join(c.cfg.Dir, name+".clock")); err != nil {
			return nil, err
		}
		env = append(env, clock.Env+"="+p.Clock.Path)
	}
	p.Process = process.New(process.Config{
		Name: name, LogFile: filepath.Join(c.cfg.Dir, name+".log"), Path: c.cfg.Binary, Args: args, Env: env,
		In: host.Do, OnExit: func(code int) { c.cfg.OnExit(p, code) }, StopTimeout: stopTimeout,
	})
	return p, nil
}

// Addrs is the addresses of the servers for clients.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		addrs[i] = s.Addr
	}
	return addrs
}

// Names is the names of the servers.
func (c *Cluster) Names() []string {
	names := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		names[i] = s.Name
	}
	return names
}

// Processes is all processes, servers first.
func (c *Cluster) Processes() []*Process {
	var all []*Process
	for _, s := range c.Servers {
		all = append(all, s.Process)
	}
	return append(all, c.Workers...)
}

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
	for _, s := range c.Servers {
		if err := s.WaitReady(ctx); err != nil {
			return err
		}
	}
	return c.waitWorkers(ctx)
}

// Restore makes everything whole: links, disks, clocks, paused and dead processes.
func (c *Cluster) Restore(ctx context.Context) error {
	if c.Switch != nil {
		c.Switch.Heal()
	}
	var errs []error
	for _, s := range c.Servers {
		if s.Disk != nil {
			s.Disk.SetFull(false)
			s.Disk.SetFailing(false)
			s.Disk.SetSlow(0)
			s.Disk.SetHung(false)
		}
	}
	for _, p := range c.Processes() {
		if p.Clock != nil {
			p.Clock.Set(0)
		}
		if p.Running() {
			// It may end at this very moment, which is reported elsewhere.
			_ = p.Resume()
			continue
		}
		errs = append(errs, p.Start())
	}
	return errors.Join(errs...)
}

// Close ends all processes and removes hosts and disks. Data and logs stay.
func (c *Cluster) Close() error {
	var parts sync.WaitGroup
	for _, p := range c.Processes() {
		parts.Go(p.Kill)
	}
	parts.Wait()
	var errs []error
	for _, s := range c.Servers {
		if s.Disk != nil {
			errs = append(errs, s.Disk.Unmount())
		}
	}
	for _, p := range c.Processes() {
		if p.Clock != nil {
			errs = append(errs, p.Clock.Close())
		}
	}
	if c.Switch != nil {
		errs = append(errs, c.Switch.Close())
	}
	return errors.Join(errs...)
}

// pollEvery is how often conditions are checked.
const pollEvery = 20 * time.Millisecond

// Await checks a condition until it holds, or ctx ends.
func Await(ctx context.Context, what string, holds func() error) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := holds()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w (%w)", what, err, ctx.Err())
		}
	}
}
