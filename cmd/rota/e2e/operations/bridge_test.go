package operations

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/stretchr/testify/require"
)

// secret is in each name, payload, command and output of the jobs that this test runs, and on no wire.
const secret = "swordfish"

// bridge is what somebody learns who reads along on the bridge between all machines.
type bridge struct {
	mu sync.Mutex
	// connections is how many of TCP were seen, and plain are those that did not begin with TLS.
	connections int
	plain       []string
	// secrets are the frames with the secret in them.
	secrets int
	// first is the number of the first byte that each end of a connection sends.
	first map[ends]uint32
}

// ends are those of a connection: who sends, and to whom.
type ends struct{ from, to netip.AddrPort }

func newBridge() *bridge { return &bridge{first: map[ends]uint32{}} }

// frame reads a frame.
func (b *bridge) frame(frame []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if bytes.Contains(frame, []byte(secret)) {
		b.secrets++
	}
	from, to, tcp := packet(frame)
	// 20 bytes of header at least. The upper half of byte 12 counts its words of four bytes.
	if len(tcp) < 20 || int(tcp[12]>>4)*4 > len(tcp) {
		return
	}
	e := ends{netip.AddrPortFrom(from, binary.BigEndian.Uint16(tcp)), netip.AddrPortFrom(to, binary.BigEndian.Uint16(tcp[2:]))}
	number, data := binary.BigEndian.Uint32(tcp[4:]), tcp[int(tcp[12]>>4)*4:]
	const syn = 2
	if tcp[13]&syn != 0 {
		if b.first[e] != number+1 {
			b.connections++
		}
		b.first[e] = number + 1
		return
	}
	// A record of TLS begins with its type and its version: a handshake (22) or an alert (21), and 3.
	tls := len(data) >= 2 && (data[0] == 22 || data[0] == 21) && data[1] == 3
	if len(data) > 0 && number == b.first[e] && !tls {
		b.plain = append(b.plain, fmt.Sprintf("%s to %s: %q", e.from, e.to, data[:min(len(data), 64)]))
	}
}

// packet returns the addresses of a frame with TCP, and the segment; nil: it is something else.
func packet(frame []byte) (from, to netip.Addr, segment []byte) {
	const ethernet, ipv6Header, protocolTCP = 14, 40, 6
	if len(frame) < ethernet+ipv6Header {
		return from, to, nil
	}
	ip := frame[ethernet:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case 0x0800:
		header, total := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
		if ip[9] != protocolTCP || header > len(ip) {
			return from, to, nil
		}
		// Short frames are filled up behind the packet. Large ones that the kernel has not cut yet may have no length.
		if total > header && total <= len(ip) {
			ip = ip[:total]
		}
		return netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20])), ip[header:]
	case 0x86dd:
		if ip[6] != protocolTCP {
			return from, to, nil
		}
		return netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40])), ip[ipv6Header:]
	}
	return from, to, nil
}

// seen returns what was learned so far.
func (b *bridge) seen() (connections, secrets int, plain []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.connections, b.secrets, slices.Clone(b.plain)
}

// requireNothingLearned requires that the machines spoke TLS only. Then it speaks plain text, to be sure that it would have seen
// that.
func (r *reader) requireNothingLearned(b *bridge) {
	r.t.Helper()
	connections, secrets, plain := b.seen()
	require.Empty(r.t, plain)
	require.Zero(r.t, secrets)
	require.Greater(r.t, connections, len(servers)+len(workers), "there was hardly anything to read")
	r.ok(admin, "echo "+secret+" >/dev/tcp/b.example/7420")
	require.Eventually(r.t, func() bool {
		_, secrets, plain := b.seen()
		return secrets > 0 && len(plain) > 0
	}, within, pollEvery)
}
