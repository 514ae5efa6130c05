package systems

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"syscall"

	"google.golang.org/grpc"

	"github.com/rota-scheduler/rota/bench/harness"
	"github.com/rota-scheduler/rota/bench/rotacluster"
	"github.com/rota-scheduler/rota/client"
	chaos "github.com/rota-scheduler/rota/jepsen-tests/cluster"
	"github.com/rota-scheduler/rota/jepsen-tests/disk"
	"github.com/rota-scheduler/rota/jepsen-tests/network"
)

// ground is where Rota's processes run: this machine, or hosts of their own whose network can be cut.
type ground interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
	Addrs() []string
	Client() (*client.Client, error)
	// DialOptions are those of further clients.
	DialOptions() []grpc.DialOption
	// Lose takes a server away, as how says; Heal brings it back and waits until it serves.
	Lose(server, how string) error
	Heal(ctx context.Context, server, how string) error
}

// machine is this machine, which all processes share.
type machine struct {
	*rotacluster.Cluster
	// disks are the slow disks of the servers; nil: they use this machine's.
	disks []*disk.Disk
}

// newMachine lays processes out on this machine, the data of servers on slow disks if that is asked for.
func newMachine(r *Rota, dir string, load *harness.Load) (m *machine, err error) {
	m = &machine{}
	serverFlags, workerFlags := r.ServerFlags, []string(nil)
	if r.Profiles {
		serverFlags, workerFlags = append(slices.Clone(serverFlags), "--pprof"), []string{"--pprof", "127.0.0.1:0"}
	}
	m.Cluster, err = rotacluster.New(rotacluster.Config{
		Binary: r.Binary, Dir: dir, Servers: r.Servers, Workers: harness.Workers, Slots: load.Slots, ServerFlags: serverFlags, WorkerFlags: workerFlags,
		TLS: r.TLS,
	})
	if err != nil || r.DiskSync == 0 {
		return m, err
	}
	for i, s := range m.Servers {
		d, err := disk.Mount(filepath.Join(dir, s.Name+".disk"), filepath.Join(dir, s.Name), uint64(i))
		if err != nil {
			return m, errors.Join(err, m.unmount())
		}
		d.SetSlow(r.DiskSync)
		m.disks = append(m.disks, d)
	}
	return m, nil
}

// Stop implements ground.
func (m *machine) Stop(ctx context.Context) error {
	defer m.ReleasePorts()
	return errors.Join(m.Cluster.Stop(ctx), m.unmount())
}

func (m *machine) unmount() error {
	var errs []error
	for _, d := range m.disks {
		if d.Harmed() == 0 {
			errs = append(errs, fmt.Errorf("no fsync was slowed down at %s: nothing was written there", d.Mount))
		}
		errs = append(errs, d.Unmount())
	}
	m.disks = nil
	return errors.Join(errs...)
}

func (m *machine) server(name string) (*rotacluster.Process, error) {
	if s := m.Server(name); s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("there is no server %q", name)
}

// Lose implements ground.
func (m *machine) Lose(server, how string) error {
	s, err := m.server(server)
	if err != nil {
		return err
	}
	switch how {
	case harness.Kill:
		return s.Signal(syscall.SIGKILL)
	case harness.Pause:
		return s.Pause()
	}
	return errHow(how)
}

// Heal implements ground.
func (m *machine) Heal(ctx context.Context, server, how string) error {
	s, err := m.server(server)
	if err != nil {
		return err
	}
	if how == harness.Pause {
		err = s.Resume()
	} else {
		<-s.Done()
		err = s.Start()
	}
	if err != nil {
		return err
	}
	return s.WaitReady(ctx)
}

// hosts is a network host for each server and worker, and one for the client.
type hosts struct {
	*chaos.Cluster
	// exits gets the end of a process that nobody asked to end.
	exits chan error
}

func newHosts(r *Rota, dir string, load *harness.Load) (*hosts, error) {
	h := &hosts{exits: make(chan error, r.Servers+harness.Workers)}
	var err error
	h.Cluster, err = chaos.New(chaos.Config{
		Binary: r.Binary, Dir: dir, Servers: r.Servers, Workers: harness.Workers, Slots: load.Slots, ServerFlags: r.ServerFlags,
		ClientHosts: 1, Network: true, Disk: r.DiskSync > 0,
		OnExit: func(p *chaos.Process, code int) {
			select {
			case h.exits <- fmt.Errorf("%w: %s ended with code %d though only its network was cut: %s", harness.ErrBroken, p.Name, code, p.Tail()):
			default: // More ends than there are processes say nothing new.
			}
		},
	})
	if err != nil {
		return nil, err
	}
	for _, s := range h.Servers {
		if s.Disk != nil {
			s.Disk.SetSlow(r.DiskSync)
		}
	}
	return h, nil
}

// Client implements ground.
func (h *hosts) Client() (*client.Client, error) { return h.Cluster.Client(h.Clients[0]) }

// DialOptions implements ground: those of connections of this machine, in plain text. The load that needs more is measured
// on one machine.
func (h *hosts) DialOptions() []grpc.DialOption { return nil }

// Stop implements ground. The data is thrown away, so nothing ends in good order.
func (h *hosts) Stop(context.Context) error { return h.Close() }

// Lose implements ground: what the server sends and what others send to it is lost, as if
// its cable were cut or its power gone. Nothing is closed, and nobody is told.
func (h *hosts) Lose(server, how string) error {
	if how != harness.Network {
		return errHow(how)
	}
	lost, err := h.server(server)
	if err != nil {
		return err
	}
	for _, other := range h.addrs() {
		if other != lost.Host.Addr {
			h.Switch.Set(lost.Host.Addr, other, network.Link{Cut: true})
			h.Switch.Set(other, lost.Host.Addr, network.Link{Cut: true})
		}
	}
	return nil
}

// Heal implements ground.
func (h *hosts) Heal(ctx context.Context, server, _ string) error {
	if h.Switch.Heal() == 0 {
		return fmt.Errorf("no packet was lost though the network of %s was cut: the loss is none", server)
	}
	select {
	case err := <-h.exits:
		return err
	default:
	}
	s, err := h.server(server)
	if err != nil {
		return err
	}
	return s.WaitReady(ctx)
}

func (h *hosts) server(name string) (*chaos.Server, error) {
	for _, s := range h.Servers {
		if s.Name == name {
			return s, nil
		}
	}
	return nil, fmt.Errorf("there is no server %q", name)
}

// addrs is the addresses of all hosts.
func (h *hosts) addrs() []netip.Addr {
	var out []netip.Addr
	for _, p := range h.Processes() {
		out = append(out, p.Host.Addr)
	}
	for _, c := range h.Clients {
		out = append(out, c.Addr)
	}
	return out
}

// lay makes the ground.
func (r *Rota) lay(dir string, load *harness.Load) (ground, error) {
	if load.Workload == harness.Failover && load.How == harness.Network {
		return newHosts(r, filepath.Join(dir, "hosts"), load)
	}
	m, err := newMachine(r, dir, load)
	if err != nil {
		return nil, err
	}
	r.cluster = m.Cluster
	return m, nil
}

func errHow(how string) error { return fmt.Errorf("a leader cannot be lost by %q here", how) }
