package secure_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire/secure"
)

// shown is a certificate, and what both ends say of it if it is not let in.
type shown struct {
	name string
	cert tls.Certificate
	// here is the reason at the end that refuses it. there is the part of the alert that its owner sees.
	here  secure.Reason
	there string
}

// odd are certificates that nobody may let in, at either end.
func odd(t *testing.T) (good *secureEnds, all []shown) {
	ca := newCA(t, domain)
	good = &secureEnds{
		server: open(t, files(t, ca, task.RoleServer, "a.example")),
		client: open(t, files(t, ca, task.RoleAdmin, "root")),
	}
	now := time.Now()
	change := func(f func(c *x509.Certificate)) tls.Certificate { return made(t, ca, f) }
	uris := func(texts ...string) tls.Certificate {
		return change(func(c *x509.Certificate) {
			c.URIs = []*url.URL{}
			for _, text := range texts {
				c.URIs = append(c.URIs, uri(t, text))
			}
		})
	}
	good.cert = change(nil)
	good.worker = uris("spiffe://rota.test/rota/worker/a")
	all = []shown{
		{"wrong CA", made(t, newCA(t, domain), nil), secure.ReasonUnknownCA, "does not know the CA"},
		{"expired", change(func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) }), secure.ReasonExpired, "not valid now"},
		{"not yet valid", change(func(c *x509.Certificate) { c.NotBefore = now.Add(time.Minute) }), secure.ReasonNotYetValid, "not valid now"},
		{"no URI", uris(), secure.ReasonNoIdentity, "look at role and trust domain"},
		{"two URIs", uris("spiffe://rota.test/rota/server/a", "spiffe://rota.test/rota/admin/a"), secure.ReasonNoIdentity, "look at role"},
		{"other trust domain", uris("spiffe://other.test/rota/server/a"), secure.ReasonOtherDomain, "look at role"},
		{"part of the trust domain", uris("spiffe://rota.test.evil/rota/server/a"), secure.ReasonOtherDomain, "look at role"},
		{"other product", uris("spiffe://rota.test/nomad/server/a"), secure.ReasonNoIdentity, "look at role"},
		{"other scheme", uris("https://rota.test/rota/server/a"), secure.ReasonNoIdentity, "look at role"},
		{"unknown role", uris("spiffe://rota.test/rota/root/a"), secure.ReasonNoIdentity, "look at role"},
		{"more path", uris("spiffe://rota.test/rota/server/a/b"), secure.ReasonNoIdentity, "look at role"},
		{"no name", uris("spiffe://rota.test/rota/server/"), secure.ReasonNoIdentity, "look at role"},
		{"port", uris("spiffe://rota.test:1/rota/server/a"), secure.ReasonNoIdentity, "look at role"},
		{"user", uris("spiffe://x@rota.test/rota/server/a"), secure.ReasonNoIdentity, "look at role"},
		{"query", uris("spiffe://rota.test/rota/server/a?b"), secure.ReasonNoIdentity, "look at role"},
		{"escape", uris("spiffe://rota.test/rota/server/%61"), secure.ReasonNoIdentity, "look at role"},
		{"signs for nobody", change(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} }), secure.ReasonInvalid, "look at role"},
	}
	return good, all
}

// secureEnds are two processes of one cluster, and two certificates from their CA.
type secureEnds struct {
	server, client *secure.Config
	cert, worker   tls.Certificate
}

func TestAPortLetsInWhoFits(t *testing.T) {
	t.Parallel()
	ca := newCA(t, domain)
	server := open(t, files(t, ca, task.RoleServer, "a.example"))
	ports := map[string]struct {
		accept secure.Accept
		lets   func(role task.Role) bool
		bare   bool
	}{
		"servers only": {secure.Accept{Roles: []task.Role{task.RoleServer}}, func(r task.Role) bool { return r == task.RoleServer }, false},
		"all roles":    {secure.Accept{Roles: task.Roles()}, func(task.Role) bool { return true }, false},
		"or anonymous": {secure.Accept{Roles: task.Roles(), Anonymous: true}, func(task.Role) bool { return true }, true},
	}
	for name, tt := range ports {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := listen(t, server, tt.accept)
			for _, role := range task.Roles() {
				conn, err := open(t, files(t, ca, role, "x")).Dial(t.Context(), connect(t, p.addr))
				require.NoError(t, err, role)
				err = secure.Explain(talk(conn), time.Now())
				if tt.lets(role) {
					require.NoError(t, err, role)
					require.NoError(t, <-p.errs, role)
					continue
				}
				require.Equal(t, secure.ReasonRefused, secure.ReasonOf(err), "%s: %v", role, err)
				err = <-p.errs
				require.Equal(t, secure.ReasonWrongRole, secure.ReasonOf(err), "%s: %v", role, err)
				require.ErrorContains(t, err, "and this needs server")
			}
			// A client that has nothing but the CA bundle.
			f := files(t, ca, task.RoleRead, "x")
			conn, err := open(t, secure.Files{CA: f.CA}).Dial(t.Context(), connect(t, p.addr))
			require.NoError(t, err)
			err = secure.Explain(talk(conn), time.Now())
			if tt.bare {
				require.NoError(t, err)
				require.NoError(t, <-p.errs)
				return
			}
			require.ErrorContains(t, err, "wants a certificate")
			require.Equal(t, secure.ReasonNoCertificate, secure.ReasonOf(<-p.errs))
		})
	}
}

func TestAPortRefusesOddCertificatesAndSaysWhy(t *testing.T) {
	t.Parallel()
	good, all := odd(t)
	for _, anonymous := range []bool{false, true} {
		p := listen(t, good.server, secure.Accept{Roles: task.Roles(), Anonymous: anonymous})
		for _, tt := range all {
			conn := tls.Client(connect(t, p.addr), &tls.Config{
				MinVersion: tls.VersionTLS13, InsecureSkipVerify: true,
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tt.cert, nil },
			})
			require.NoError(t, conn.Handshake(), tt.name)
			err := secure.Explain(talk(conn), time.Now())
			require.Equal(t, secure.ReasonRefused, secure.ReasonOf(err), "%s: %v", tt.name, err)
			require.ErrorContains(t, err, tt.there, tt.name)
			err = <-p.errs
			require.Equal(t, tt.here, secure.ReasonOf(err), "%s: %v", tt.name, err)
			t.Logf("%s: %v", tt.name, err)
		}
	}
	counts := good.server.Refusals()
	require.EqualValues(t, 2, counts[secure.ReasonExpired])
	require.EqualValues(t, 2, counts[secure.ReasonUnknownCA])
}

func TestAClientRefusesOddServersAndSaysWhy(t *testing.T) {
	t.Parallel()
	good, all := odd(t)
	dial := func(cert tls.Certificate) error {
		addr := serve(t, func(raw net.Conn) {
			conn := tls.Server(raw, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}})
			if conn.Handshake() == nil {
				echo(conn)
			}
		})
		conn, err := good.client.Dial(t.Context(), connect(t, addr))
		if err != nil {
			return err
		}
		return talk(conn)
	}
	for _, tt := range all {
		err := dial(tt.cert)
		require.Equal(t, tt.here, secure.ReasonOf(err), "%s: %v", tt.name, err)
	}
	require.NoError(t, dial(good.cert))
	// A worker must not pass as a server, even if its certificate may be that of a server.
	require.Equal(t, secure.ReasonWrongRole, secure.ReasonOf(dial(good.worker)))

	plain := serve(t, func(raw net.Conn) { _, _ = raw.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) })
	_, err := good.client.Dial(t.Context(), connect(t, plain))
	require.Equal(t, secure.ReasonPlainText, secure.ReasonOf(err), "%v", err)
}

func TestPlainTextAndOldVersionsAreRefused(t *testing.T) {
	t.Parallel()
	good, _ := odd(t)
	p := listen(t, good.server, secure.Accept{Roles: task.Roles(), Anonymous: true})
	conn := connect(t, p.addr)
	_, err := conn.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	require.NoError(t, err)
	require.Equal(t, secure.ReasonPlainText, secure.ReasonOf(<-p.errs))

	old := tls.Client(connect(t, p.addr), &tls.Config{MaxVersion: tls.VersionTLS12, InsecureSkipVerify: true})
	require.ErrorContains(t, secure.Explain(old.Handshake(), time.Now()), "does not speak TLS 1.3")
	require.Equal(t, secure.ReasonOther, secure.ReasonOf(<-p.errs))
}

// A client must not get in with what a session says of a certificate that it showed once.
func TestSessionsAreNotResumed(t *testing.T) {
	t.Parallel()
	good, _ := odd(t)
	p := listen(t, good.server, secure.Accept{Roles: task.Roles()})
	cfg := &tls.Config{
		InsecureSkipVerify: true, ServerName: "a.example", Certificates: []tls.Certificate{good.cert}, ClientSessionCache: tls.NewLRUClientSessionCache(1),
	}
	for range 3 {
		conn := tls.Client(connect(t, p.addr), cfg)
		require.NoError(t, talk(conn))
		require.False(t, conn.ConnectionState().DidResume)
		require.NoError(t, <-p.errs)
	}

	eager := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{good.cert}}
	addr := serve(t, func(raw net.Conn) { echo(tls.Server(raw, eager)) })
	mine := good.client.Client()
	mine.ServerName = "a.example"
	for range 3 {
		conn := tls.Client(connect(t, addr), mine)
		require.NoError(t, talk(conn))
		require.False(t, conn.ConnectionState().DidResume)
	}
}
