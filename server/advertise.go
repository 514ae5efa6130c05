package server

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// Addrs are the three addresses of a server.
type Addrs struct{ GRPC, Raft, HTTP string }

// Advertise is what others use instead of what a server listens on, as host or host:port; empty: nothing of its own.
// Containers and NAT need it, and whoever listens on all addresses of a machine with several.
type Advertise struct {
	// Server is for gRPC. Its host is that of the other two as well.
	Server string
	// Raft and HTTP are for these ports alone.
	Raft, HTTP string
}

// interfaceAddr is an address of this machine, and the interface that has it.
type interfaceAddr struct {
	ip   netip.Addr
	name string
}

// Advertised returns the addresses that others use for a server that listens on some. The host may be a name: it is looked
// up whenever somebody connects.
func Advertised(listen Addrs, adv Advertise) (Addrs, error) {
	return advertised(listen, adv, machineAddrs)
}

func advertised(listen Addrs, adv Advertise, machine func() ([]interfaceAddr, error)) (out Addrs, err error) {
	only := func() (string, error) { return onlyHost(listen.GRPC, machine) }
	if out.GRPC, err = advertise("--advertise", adv.Server, "", "--addr", listen.GRPC, only); err != nil {
		return out, err
	}
	host, _, err := net.SplitHostPort(out.GRPC)
	if err != nil {
		return out, err
	}
	said := ""
	if adv.Server != "" {
		said = host
	}
	same := func() (string, error) { return host, nil }
	if out.Raft, err = advertise("--advertise-peer", adv.Raft, said, "--peer-addr", listen.Raft, same); err != nil {
		return out, err
	}
	out.HTTP, err = advertise("--advertise-http", adv.HTTP, said, "--http-addr", listen.HTTP, same)
	return out, err
}

// advertise returns what others use for one port: what was said for it; else a host that was said, with the port that is
// listened on; else where the server listens. If that is all addresses, anyHost says which one.
func advertise(flag, said, host, listenFlag, listen string, anyHost func() (string, error)) (string, error) {
	own, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", task.Errorf(task.KindInvalid, "%s: %v", listenFlag, err)
	}
	switch {
	case said != "":
		if host, port, err = splitHost(said, port); err != nil {
			return "", task.Errorf(task.KindInvalid, "%s %q is malformed: expected a host, or host:port", flag, said)
		}
	case host != "":
	case !isWildcard(own):
		host = own
	default:
		if host, err = anyHost(); err != nil {
			return "", err
		}
	}
	if err := usable(host); err != nil {
		return "", task.Errorf(task.KindInvalid, "%s %s: %v", flag, host, err)
	}
	addr := net.JoinHostPort(host, port)
	if err := wire.CheckAddr(addr); err != nil {
		return "", task.Errorf(task.KindInvalid, "%s: %v", flag, err)
	}
	return addr, nil
}

// splitHost splits host or host:port; an IPv6 address may stand without brackets if it has no port.
func splitHost(said, port string) (host, outPort string, err error) {
	bare := strings.TrimSuffix(strings.TrimPrefix(said, "["), "]")
	if _, err := netip.ParseAddr(bare); err == nil {
		return bare, port, nil
	}
	if !strings.Contains(said, ":") {
		return said, port, nil
	}
	return net.SplitHostPort(said)
}

// isWildcard says whether a host is all addresses of this machine.
func isWildcard(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

// usable says why others cannot use a host; nil: they can, as far as it shows.
func usable(host string) error {
	ip, _ := netip.ParseAddr(host) // that of a name is the zero address, which is none of these
	switch {
	case ip.IsUnspecified():
		return errors.New("others cannot connect to all addresses of this machine: name the one that they use")
	case ip.IsMulticast():
		return errors.New("it is the address of a group, and not of a server")
	case ip.Zone() != "" || ip.IsLinkLocalUnicast():
		return errors.New("it holds only on one link of this machine: name an address that all others can use")
	}
	return nil
}

// onlyHost is the only address of this machine that others can use.
func onlyHost(listen string, machine func() ([]interfaceAddr, error)) (string, error) {
	all, err := machine()
	if err != nil {
		return "", fmt.Errorf("find the addresses of this machine: %w", err)
	}
	listened, _, _ := net.SplitHostPort(listen)
	var four, six []interfaceAddr
	for _, a := range all {
		switch {
		case a.ip.IsLoopback() || usable(a.ip.String()) != nil:
		case a.ip.Is4():
			four = append(four, a)
		case listened != "0.0.0.0":
			six = append(six, a)
		}
	}
	found := four
	if len(found) == 0 {
		found = six
	}
	switch len(found) {
	case 0:
		return "", task.Errorf(task.KindInvalid, "--addr %s: this machine has no address that others can use; say what they use with --advertise HOST", listen)
	case 1:
		return found[0].ip.String(), nil
	}
	var names []string
	for _, a := range found {
		names = append(names, fmt.Sprintf("%s (%s)", a.ip, a.name))
	}
	return "", task.Errorf(task.KindInvalid, "--addr %s: this machine has several addresses: %s; say which one others use with --advertise HOST", listen, strings.Join(names, ", "))
}

// machineAddrs is the addresses of the interfaces that are up.
func machineAddrs() (out []interfaceAddr, err error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil {
				out = append(out, interfaceAddr{prefix.Addr().Unmap(), i.Name})
			}
		}
	}
	slices.SortFunc(out, func(a, b interfaceAddr) int { return a.ip.Compare(b.ip) })
	return out, nil
}
