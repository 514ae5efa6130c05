package main

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// askNamesAt makes the processes of a test look names up at the DNS server that it names, and not at that of the machine.
const askNamesAt = "ROTA_TEST_NAMESERVER"

// mainOfTest is main in the processes of tests.
func mainOfTest() {
	if server := os.Getenv(askNamesAt); server != "" {
		net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "udp", server)
		}}
	}
	main()
}

// nameServer is a DNS server. Its records may change at any time.
type nameServer struct {
	addr string

	mu       sync.Mutex
	hosts    map[string][]string
	services map[string][]net.SRV
}

// serveNames starts a DNS server that ends with the test.
func serveNames(t *testing.T) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	n := &nameServer{addr: conn.LocalAddr().String(), hosts: map[string][]string{}, services: map[string][]net.SRV{}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 1500)
		for {
			size, from, err := conn.ReadFrom(buf)
			if err != nil {
				return // closed
			}
			if answer := n.answer(buf[:size]); answer != nil {
				_, _ = conn.WriteTo(answer, from) // whoever asks asks again
			}
		}
	}()
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		<-ended
	})
	return n
}

// set gives a name its addresses; none: there is no such name.
func (n *nameServer) set(host string, ips ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[host] = ips
}

// setService gives a service its servers.
func (n *nameServer) setService(name string, servers ...net.SRV) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.services[name] = servers
}

// answer answers one message; nil: it is none.
func (n *nameServer) answer(query []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	m = dnsmessage.Message{
		Header:    dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true, RecursionDesired: m.RecursionDesired, RecursionAvailable: true},
		Questions: m.Questions,
	}
	header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
	name := strings.TrimSuffix(q.Name.String(), ".")
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.hosts[name] {
		switch ip := netip.MustParseAddr(s); {
		case q.Type == dnsmessage.TypeA && ip.Is4():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: ip.As4()}})
		case q.Type == dnsmessage.TypeAAAA && ip.Is6():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: ip.As16()}})
		}
	}
	for _, s := range n.services[name] {
		if q.Type == dnsmessage.TypeSRV {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.SRVResource{
				Priority: s.Priority, Weight: s.Weight, Port: s.Port, Target: dnsmessage.MustNewName(s.Target + "."),
			}})
		}
	}
	if len(n.hosts[name])+len(n.services[name]) == 0 {
		m.RCode = dnsmessage.RCodeNameError
	}
	answer, err := m.Pack()
	if err != nil {
		return nil
	}
	return answer
}
