package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"unsafe"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// device is the name of a host's TUN device in its namespace.
const device = "eth0"

// Host is one machine on the network.
type Host struct {
	Addr netip.Addr

	// Without a namespace it is this machine.
	namespace netns.NsHandle
	tun       *os.File
}

// Local is a host that is this machine, under an address of 127.0.0.0/8.
func Local(addr netip.Addr) *Host { return &Host{Addr: addr, namespace: netns.None()} }

func newHost(addr netip.Addr) (h *Host, err error) {
	h = &Host{Addr: addr, namespace: netns.None()}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close())
		}
	}()
	err = onThread(func() error {
		h.namespace, err = netns.New()
		return err
	})
	if err != nil {
		return h, fmt.Errorf("make a network namespace: %w", err)
	}
	return h, h.Do(h.configure)
}

// configure gives the host its device and its address.
func (h *Host) configure() error {
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", tunDevice, err)
	}
	request := struct {
		name  [unix.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}{flags: unix.IFF_TUN | unix.IFF_NO_PI}
	copy(request.name[:], device)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return errors.Join(fmt.Errorf("make a TUN device: %w", errno), unix.Close(fd))
	}
	// Not earlier: the poller would see an error on a TUN device that is not made yet.
	h.tun = os.NewFile(uintptr(fd), tunDevice)
	if err := yieldLoopback(); err != nil {
		return err
	}
	link, err := netlink.LinkByName(device)
	if err != nil {
		return fmt.Errorf("find the TUN device: %w", err)
	}
	for _, name := range []string{"all", device} {
		if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+name+"/route_localnet", []byte("1"), 0); err != nil {
			return fmt.Errorf("route loopback addresses: %w", err)
		}
	}
	network := &netlink.Addr{IPNet: &net.IPNet{IP: h.Addr.AsSlice(), Mask: net.CIDRMask(24, 32)}}
	if err := errors.Join(netlink.LinkSetMTU(link, mtu), netlink.AddrAdd(link, network), netlink.LinkSetUp(link)); err != nil {
		return fmt.Errorf("set the TUN device up: %w", err)
	}
	return nil
}

// yieldLoopback leaves 127.0.0.1 to the loopback device, and nothing else of 127.0.0.0/8.
func yieldLoopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find the loopback device: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set the loopback device up: %w", err)
	}
	addrs, err := netlink.AddrList(lo, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list the loopback addresses: %w", err)
	}
	for i := range addrs {
		if err := netlink.AddrDel(lo, &addrs[i]); err != nil {
			return fmt.Errorf("remove %v from the loopback device: %w", addrs[i], err)
		}
	}
	only := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(127, 0, 0, 1), Mask: net.CIDRMask(32, 32)}}
	if err := netlink.AddrAdd(lo, only); err != nil {
		return fmt.Errorf("give 127.0.0.1 to the loopback device: %w", err)
	}
	return nil
}

// receive gives a packet to the host. One that does not fit into its queue is lost.
func (h *Host) receive(data []byte) { _, _ = h.tun.Write(data) }

func (h *Host) close() error {
	var errs []error
	if h.tun != nil {
		errs = append(errs, h.tun.Close())
	}
	if h.namespace.IsOpen() {
		errs = append(errs, h.namespace.Close())
	}
	return errors.Join(errs...)
}

// Do runs f on a thread in the host's namespace. Sockets that f makes and processes that
// it starts stay there; goroutines that it starts do not.
func (h *Host) Do(f func() error) error {
	if !h.namespace.IsOpen() {
		return f()
	}
	return onThread(func() error {
		if err := netns.Set(h.namespace); err != nil {
			return fmt.Errorf("enter the namespace of %s: %w", h.Addr, err)
		}
		return f()
	})
}

// onThread runs f on a thread of its own and comes back in the namespace that it had.
func onThread(f func() error) error {
	runtime.LockOSThread()
	before, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("get the network namespace: %w", err)
	}
	defer func() { _ = before.Close() }()
	err = f()
	if back := netns.Set(before); back != nil {
		// The thread stays locked, and ends with its goroutine: it must do nothing else.
		return errors.Join(err, fmt.Errorf("leave a network namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}

// Dial connects to an address from this host.
func (h *Host) Dial(ctx context.Context, addr string) (c net.Conn, err error) {
	var dialer net.Dialer
	err = h.Do(func() error {
		c, err = dialer.DialContext(ctx, "tcp4", addr)
		return err
	})
	return c, err
}
