package server

import (
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

// machine is a machine with some addresses, on interfaces e0, e1 and so on.
func machine(addrs ...string) func() ([]interfaceAddr, error) {
	return func() (out []interfaceAddr, err error) {
		for i, a := range addrs {
			out = append(out, interfaceAddr{netip.MustParseAddr(a), "e" + string(rune('0'+i))})
		}
		return out, nil
	}
}

func on(host string) Addrs { return Addrs{host + ":7420", host + ":7421", host + ":7422"} }

func TestWhatOthersUse(t *testing.T) {
	t.Parallel()
	one := machine("127.0.0.1", "::1", "10.0.0.5", "fe80::1", "fd00::5")
	for name, c := range map[string]struct {
		listen  Addrs
		adv     Advertise
		machine func() ([]interfaceAddr, error)
		want    Addrs
		err     string
	}{
		"where it listens":                {listen: on("10.0.0.5"), want: on("10.0.0.5")},
		"a name stays a name":             {listen: on("n1.example"), want: on("n1.example")},
		"the only address of the machine": {listen: on("0.0.0.0"), machine: one, want: on("10.0.0.5")},
		"any address, IPv4 first":         {listen: on("[::]"), machine: one, want: on("10.0.0.5")},
		"no host is any address":          {listen: on(""), machine: one, want: on("10.0.0.5")},
		"IPv6 alone":                      {listen: on("[::]"), machine: machine("::1", "fe80::1", "fd00::5"), want: on("[fd00::5]")},
		"what was said":                   {listen: on("0.0.0.0"), adv: Advertise{Server: "n1.example"}, want: on("n1.example")},
		"an IPv6 address":                 {listen: on("[::]"), adv: Advertise{Server: "fd00::9"}, want: on("[fd00::9]")},
		"ports that are mapped": {
			listen: on("0.0.0.0"), adv: Advertise{Server: "192.0.2.7:9001", Raft: "192.0.2.7:9002", HTTP: "192.0.2.7:9003"},
			want: Addrs{"192.0.2.7:9001", "192.0.2.7:9002", "192.0.2.7:9003"},
		},
		"the port of gRPC is not that of the others": {
			listen: on("0.0.0.0"), adv: Advertise{Server: "192.0.2.7:9001"}, want: Addrs{"192.0.2.7:9001", "192.0.2.7:7421", "192.0.2.7:7422"},
		},
		"another network for Raft": {
			listen: on("0.0.0.0"), adv: Advertise{Server: "n1.example", Raft: "10.9.0.1"}, want: Addrs{"n1.example:7420", "10.9.0.1:7421", "n1.example:7422"},
		},
		"all addresses for HTTP alone": {
			listen: Addrs{"10.0.0.5:7420", "10.0.0.5:7421", "0.0.0.0:7422"}, want: on("10.0.0.5"),
		},
		"several addresses": {
			listen: on("0.0.0.0"), machine: machine("127.0.0.1", "10.0.0.5", "172.17.0.1"),
			err: "--addr 0.0.0.0:7420: this machine has several addresses: 10.0.0.5 (e1), 172.17.0.1 (e2); say which one others use with --advertise HOST",
		},
		"no address":          {listen: on("0.0.0.0"), machine: machine("127.0.0.1", "fd00::5"), err: "no address that others can use"},
		"all addresses":       {listen: on("0.0.0.0"), adv: Advertise{Server: "0.0.0.0"}, err: "--advertise 0.0.0.0: others cannot connect to all addresses"},
		"a link":              {listen: on("[::]"), adv: Advertise{Raft: "fe80::1%e0", Server: "fd00::1"}, err: "--advertise-peer fe80::1%e0: it holds only on one link"},
		"a group":             {listen: on("0.0.0.0"), adv: Advertise{Server: "224.0.0.1"}, err: "address of a group"},
		"a port that is none": {listen: on("0.0.0.0"), adv: Advertise{Server: "n1:x"}, err: "--advertise: server address \"n1:x\" has no valid port"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := advertised(c.listen, c.adv, c.machine)
			if c.err != "" {
				require.ErrorIs(t, err, task.ErrInvalid)
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

// A container listens on all of its addresses, and others use another one.
func TestAServerListensWhereItWasTold(t *testing.T) {
	t.Parallel()
	cfg := alone(t)
	cfg.Listen = Addrs{GRPC: onHost(t, "", cfg.Node.Addr), Raft: onHost(t, "0.0.0.0", cfg.Node.PeerAddr), HTTP: onHost(t, "127.0.0.2", cfg.Node.HTTPAddr)}
	cfg.Node.HTTPAddr = onHost(t, "127.0.0.3", cfg.Node.HTTPAddr)
	s, err := Start(cfg)
	require.NoError(t, err)
	defer ended(t, s.Kill)
	require.Eventually(t, func() bool { _, ok := s.Node().Ready(); return ok }, wait, 5*time.Millisecond)
	for _, addr := range []string{onHost(t, "127.0.0.4", cfg.Node.Addr), onHost(t, "::1", cfg.Node.Addr), onHost(t, "127.0.0.5", cfg.Node.PeerAddr)} {
		conn, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	}
	resp, err := http.Get("http://" + cfg.Listen.HTTP + "/readyz")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	_, err = net.Dial("tcp", cfg.Node.HTTPAddr)
	require.Error(t, err)
	require.Equal(t, cfg.Node.HTTPAddr, s.Node().Self().HTTPAddr)
}

// onHost is an address with another host.
func onHost(t *testing.T, host, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	return net.JoinHostPort(host, port)
}
