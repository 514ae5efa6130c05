package secure_test

import (
	"crypto/tls"
	"encoding/pem"
	"log/slog"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/pki"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire/secure"
)

func pemOf(cert tls.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
}

// web starts an HTTP server that says who asks.
func web(t *testing.T, c *secure.Config) string {
	t.Helper()
	cfg, err := c.Server(secure.Accept{Roles: task.Roles(), Anonymous: true, Protocols: []string{"h2", "http/1.1"}})
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &http.Server{ReadHeaderTimeout: deadline, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := "anonymous"
		if p, ok := secure.PeerOf(r.TLS); ok {
			who = p.String()
		}
		_, _ = w.Write([]byte(who + " by " + r.Proto + "\n"))
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(tls.NewListener(l, cfg)) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

// Programs of others check the name of the host, which rota does not.
func TestProgramsOfOthersTakeTheCertificates(t *testing.T) {
	t.Parallel()
	ca := newCA(t, domain)
	dir := t.TempDir()
	pair, err := ca.Issue(pki.Request{Role: task.RoleServer, Name: "s", Hosts: []string{"localhost", "127.0.0.1"}, Validity: pki.Day}, time.Now())
	require.NoError(t, err)
	require.NoError(t, ca.Write(dir, task.RoleServer, pair))
	port := web(t, open(t, secure.Files{
		CA: filepath.Join(dir, "ca.crt"), Cert: filepath.Join(dir, "server.crt"), Key: filepath.Join(dir, "server.key"),
	}))
	f, wrong := files(t, ca, task.RoleAdmin, "root"), files(t, newCA(t, domain), task.RoleAdmin, "root")

	// Go's own client, as a stand-in where there is no other.
	with := func(c *secure.Config) *http.Client {
		cfg := c.Client()
		cfg.ServerName = "localhost"
		return &http.Client{Timeout: deadline, Transport: &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true}}
	}
	client := with(open(t, f))
	defer client.CloseIdleConnections()
	answer, err := client.Get("https://127.0.0.1:" + port)
	require.NoError(t, err)
	defer answer.Body.Close()
	require.Equal(t, 2, answer.ProtoMajor)

	const python = `
import ssl, sys, urllib.request
url, ca, cert, key = sys.argv[1:]
ctx = ssl.create_default_context(cafile=ca)
if cert: ctx.load_cert_chain(cert, key)
print(urllib.request.urlopen(url, context=ctx).read().decode())`
	for _, tt := range []struct {
		name    string
		program []string
		says    string
		fails   bool
	}{
		{"openssl with a certificate", []string{"openssl", "s_client", "-connect", "127.0.0.1:" + port, "-CAfile", f.CA, "-cert", f.Cert, "-key", f.Key, "-verify_return_error", "-verify_hostname", "localhost", "-brief"}, "TLSv1.3", false},
		{"openssl, another name", []string{"openssl", "s_client", "-connect", "127.0.0.1:" + port, "-CAfile", f.CA, "-verify_return_error", "-verify_hostname", "other.example"}, "ostname mismatch", true},
		{"openssl, TLS 1.2", []string{"openssl", "s_client", "-connect", "127.0.0.1:" + port, "-CAfile", f.CA, "-tls1_2"}, "protocol version", true},
		{"openssl verify", []string{"openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", f.CA, f.Cert}, "OK", false},
		{"curl with a certificate", []string{"curl", "-sS", "--cacert", f.CA, "--cert", f.Cert, "--key", f.Key, "https://localhost:" + port}, "spiffe://rota.test/rota/admin/root by HTTP/2.0", false},
		{"curl", []string{"curl", "-sS", "--cacert", f.CA, "https://127.0.0.1:" + port}, "anonymous by HTTP/2.0", false},
		{"curl, another CA", []string{"curl", "-sS", "--cacert", wrong.CA, "https://localhost:" + port}, "certificate", true},
		{"curl, a certificate of another CA", []string{"curl", "-sS", "--cacert", f.CA, "--cert", wrong.Cert, "--key", wrong.Key, "https://localhost:" + port}, "curl: (", true},
		{"Python with a certificate", []string{"python3", "-c", python, "https://localhost:" + port, f.CA, f.Cert, f.Key}, "spiffe://rota.test/rota/admin/root by HTTP/1.1", false},
		{"Python", []string{"python3", "-c", python, "https://localhost:" + port, f.CA, "", ""}, "anonymous by HTTP/1.1", false},
	} {
		if _, err := exec.LookPath(tt.program[0]); err != nil {
			t.Logf("%s is not installed here", tt.program[0])
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), tt.program[0], tt.program[1:]...)
			cmd.Stdin = strings.NewReader("Q\n")
			out, err := cmd.CombinedOutput()
			require.Equal(t, tt.fails, err != nil, "%s", out)
			require.Contains(t, string(out), tt.says)
		})
	}
}
