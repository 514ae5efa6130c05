package secure_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/pki"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire/secure"
)

// deadline bounds every wait. A test that passes does not wait that long.
const deadline = 30 * time.Second

const domain = "rota.test"

func newCA(t *testing.T, domain string) *pki.CA {
	t.Helper()
	ca, err := pki.NewCA(domain, pki.CAValidity, time.Now())
	require.NoError(t, err)
	return ca
}

// files puts a new certificate into a folder of its own.
func files(t *testing.T, ca *pki.CA, role task.Role, name string) secure.Files {
	t.Helper()
	dir := t.TempDir()
	pair, err := ca.Issue(pki.Request{Role: role, Name: name, Validity: pki.Validity}, time.Now())
	require.NoError(t, err)
	require.NoError(t, ca.Write(dir, role, pair))
	cert, key := pki.Names(role)
	return secure.Files{CA: filepath.Join(dir, pki.BundleFile), Cert: filepath.Join(dir, cert), Key: filepath.Join(dir, key)}
}

// replace writes a new certificate over the old one.
func replace(t *testing.T, ca *pki.CA, f secure.Files, role task.Role, name string) {
	t.Helper()
	pair, err := ca.Issue(pki.Request{Role: role, Name: name, Validity: pki.Validity}, time.Now())
	require.NoError(t, err)
	put(t, f.Cert, pair.Cert)
	put(t, f.Key, pair.Key)
}

func put(t *testing.T, path string, data []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

func open(t *testing.T, f secure.Files) *secure.Config {
	t.Helper()
	c, err := secure.Open(f, secure.Options{})
	require.NoError(t, err)
	return c
}

// made signs a certificate that rota would not make.
func made(t *testing.T, ca *pki.CA, change func(c *x509.Certificate)) tls.Certificate {
	t.Helper()
	block, _ := pem.Decode(ca.Key)
	signer, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	require.NoError(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(7), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		URIs:        []*url.URL{uri(t, "spiffe://rota.test/rota/server/odd")},
	}
	if change != nil {
		change(c)
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, ca.Certificate(), key.Public(), signer.(crypto.Signer))
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}

func uri(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	require.NoError(t, err)
	return u
}

// port accepts connections, does their handshakes and echoes what comes.
type port struct {
	addr string
	// errs are what handshakes ended with; nil: it was let in.
	errs chan error
}

func listen(t *testing.T, c *secure.Config, a secure.Accept) *port {
	t.Helper()
	cfg, err := c.Server(a)
	require.NoError(t, err)
	p := &port{errs: make(chan error, 1000)}
	p.addr = serve(t, func(raw net.Conn) {
		conn := tls.Server(raw, cfg)
		err := c.Handshake(t.Context(), conn)
		p.errs <- err
		if err == nil {
			echo(conn)
		}
	})
	return p
}

// serve accepts connections until the test ends.
func serve(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer raw.Close()
				_ = raw.SetDeadline(time.Now().Add(deadline))
				handle(raw)
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return l.Addr().String()
}

func echo(conn net.Conn) {
	var b [1]byte
	for {
		if _, err := conn.Read(b[:]); err != nil {
			return
		}
		if _, err := conn.Write(b[:]); err != nil {
			return
		}
	}
}

// connect opens a connection that ends with the test.
func connect(t *testing.T, addr string) net.Conn {
	t.Helper()
	raw, err := net.DialTimeout("tcp", addr, deadline)
	require.NoError(t, err)
	t.Cleanup(func() { raw.Close() })
	require.NoError(t, raw.SetDeadline(time.Now().Add(deadline)))
	return raw
}

// talk sends a byte and reads it back. With TLS 1.3 a client hears only here that it was refused.
func talk(conn net.Conn) error {
	var b [1]byte
	if _, err := conn.Write([]byte{'x'}); err != nil {
		// The alert has arrived before the write and ended the connection.
		_, err = conn.Read(b[:])
		return err
	}
	_, err := conn.Read(b[:])
	return err
}

// lines is a log that tests read.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for line := range bytes.Lines(l.buf.Bytes()) {
		all = append(all, string(line))
	}
	return all
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
