package secure_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/pki"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire/secure"
)

// serverName dials a port and returns the name in the certificate of the server.
func serverName(t *testing.T, client *secure.Config, addr string) (string, *tls.Conn) {
	t.Helper()
	conn, err := client.Dial(t.Context(), connect(t, addr))
	require.NoError(t, err)
	require.NoError(t, talk(conn))
	id, err := secure.IDOf(conn.ConnectionState().PeerCertificates[0])
	require.NoError(t, err)
	return id.Name, conn
}

func TestChangedFilesAreUsedAndNoConnectionEnds(t *testing.T) {
	t.Parallel()
	ca := newCA(t, domain)
	f := files(t, ca, task.RoleServer, "before")
	server, client := open(t, f), open(t, files(t, ca, task.RoleWorker, "w"))
	p := listen(t, server, secure.Accept{Roles: task.Roles()})
	name, long := serverName(t, client, p.addr)
	require.Equal(t, "before", name)

	replace(t, ca, f, task.RoleServer, "after")
	server.Look() // it has changed
	name, _ = serverName(t, client, p.addr)
	require.Equal(t, "before", name, "files are used after one look")
	server.Look() // and is complete
	name, _ = serverName(t, client, p.addr)
	require.Equal(t, "after", name)
	require.NoError(t, talk(long))
	self, ok := server.Self()
	require.True(t, ok)
	require.Equal(t, "after", self.Name)
}

func TestFilesThatDoNotFitLeaveTheOldOnesInUseAndOneLine(t *testing.T) {
	t.Parallel()
	ca, other := newCA(t, domain), newCA(t, domain)
	now := time.Now()
	pair := func(ca *pki.CA, role task.Role) pki.Pair {
		p, err := ca.Issue(pki.Request{Role: role, Name: "next", Validity: pki.Day}, now)
		require.NoError(t, err)
		return p
	}
	elsewhere := pair(newCA(t, "other.test"), task.RoleServer)
	for name, tt := range map[string]struct {
		spoil func(f secure.Files)
		says  string
	}{
		"half a certificate": {func(f secure.Files) { put(t, f.Cert, pair(ca, task.RoleServer).Cert[:200]) }, "ends in the middle"},
		"empty":              {func(f secure.Files) { put(t, f.Cert, nil) }, "has no certificate"},
		"half a bundle":      {func(f secure.Files) { put(t, f.CA, append(ca.Cert[:len(ca.Cert):len(ca.Cert)], other.Cert[:200]...)) }, "ends in the middle"},
		"another key":        {func(f secure.Files) { put(t, f.Key, pair(ca, task.RoleServer).Key) }, "made together"},
		"another CA":         {func(f secure.Files) { put(t, f.CA, other.Cert) }, "no CA of the bundle"},
		"no file":            {func(f secure.Files) { require.NoError(t, os.Remove(f.Key)) }, "cannot read a file"},
		"large":              {func(f secure.Files) { put(t, f.CA, make([]byte, 1<<20)) }, "has more than"},
		"a key as bundle":    {func(f secure.Files) { put(t, f.CA, ca.Key) }, "another kind than CERTIFICATE"},
		"another role": {func(f secure.Files) {
			p := pair(ca, task.RoleAdmin)
			put(t, f.Cert, p.Cert)
			put(t, f.Key, p.Key)
		}, "restart this process"},
		"another trust domain": {func(f secure.Files) {
			put(t, f.CA, append(ca.Cert[:len(ca.Cert):len(ca.Cert)], elsewhere.Cert...))
		}, "not that of a CA"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := files(t, ca, task.RoleServer, "before")
			log := &lines{}
			server, err := secure.Open(f, secure.Options{Logger: log.logger()})
			require.NoError(t, err)
			p := listen(t, server, secure.Accept{Roles: task.Roles()})
			client := open(t, files(t, ca, task.RoleWorker, "w"))
			tt.spoil(f)
			for range 4 {
				server.Look()
			}
			all := log.all()
			require.Len(t, all, 1)
			require.Contains(t, all[0], tt.says)
			require.Contains(t, all[0], "what was loaded before stays in use")
			require.ErrorContains(t, server.Reload(), tt.says)
			got, _ := serverName(t, client, p.addr)
			require.Equal(t, "before", got)

			put(t, f.CA, ca.Cert)
			replace(t, ca, f, task.RoleServer, "after")
			server.Look()
			server.Look()
			require.Len(t, log.all(), 2)
			got, _ = serverName(t, client, p.addr)
			require.Equal(t, "after", got)
		})
	}
}

// A cluster changes its CA under traffic: all trust both, all get new certificates, all forget the old one.
func TestACAIsReplacedWithoutARefusedConnection(t *testing.T) {
	t.Parallel()
	first, second := newCA(t, domain), newCA(t, domain)
	const ends = 3
	var all [ends]secure.Files
	var configs [ends]*secure.Config
	var ports [ends]*port
	for i := range all {
		all[i] = files(t, first, task.RoleServer, "s")
		configs[i] = open(t, all[i])
		ports[i] = listen(t, configs[i], secure.Accept{Roles: []task.Role{task.RoleServer}})
	}
	everyPair := func() {
		for _, c := range configs {
			for _, p := range ports {
				conn, err := c.Dial(t.Context(), connect(t, p.addr))
				require.NoError(t, err)
				require.NoError(t, talk(conn))
				require.NoError(t, <-p.errs)
			}
		}
	}
	var long []net.Conn
	for _, p := range ports {
		conn, err := configs[0].Dial(t.Context(), connect(t, p.addr))
		require.NoError(t, err)
		require.NoError(t, talk(conn))
		require.NoError(t, <-p.errs)
		long = append(long, conn)
	}
	both := append(append([]byte{}, second.Cert...), first.Cert...)
	for _, change := range []func(f secure.Files){
		func(f secure.Files) { put(t, f.CA, both) },
		func(f secure.Files) { replace(t, second, f, task.RoleServer, "s") },
		func(f secure.Files) { put(t, f.CA, second.Cert) },
	} {
		for i := range all { // one after the other, so that old and new ones meet
			change(all[i])
			configs[i].Look()
			configs[i].Look()
			everyPair()
		}
	}
	for _, conn := range long {
		require.NoError(t, talk(conn))
	}
	stranger := open(t, files(t, first, task.RoleServer, "s"))
	_, err := stranger.Dial(t.Context(), connect(t, ports[0].addr))
	require.Equal(t, secure.ReasonUnknownCA, secure.ReasonOf(err))
}

func TestHandshakesAndReloadsGoTogether(t *testing.T) {
	t.Parallel()
	ca := newCA(t, domain)
	f := files(t, ca, task.RoleServer, "s")
	server, client := open(t, f), open(t, files(t, ca, task.RoleAdmin, "a"))
	p := listen(t, server, secure.Accept{Roles: task.Roles()})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 20 {
				raw, err := net.Dial("tcp", p.addr)
				if err != nil {
					t.Error(err)
					return
				}
				_ = raw.SetDeadline(time.Now().Add(deadline))
				conn, err := client.Dial(t.Context(), raw)
				if err == nil {
					err = talk(conn)
				}
				if err != nil {
					t.Error(err)
				}
				_ = raw.Close()
			}
		})
	}
	for range 20 {
		replace(t, ca, f, task.RoleServer, "s")
		require.NoError(t, server.Reload())
		server.Look()
		server.Expiries()
		server.Refusals()
	}
	all.Wait()
}

func TestRunLooksUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	ca := newCA(t, domain)
	f := files(t, ca, task.RoleServer, "before")
	next := files(t, ca, task.RoleServer, "after")
	synctest.Test(t, func(t *testing.T) {
		c, err := secure.Open(f, secure.Options{Now: func() time.Time { return time.Now().AddDate(40, 0, 0) }})
		require.Equal(t, secure.ReasonExpired, secure.ReasonOf(err))
		require.Nil(t, c)
		// The time in here is that of the year 2000.
		skew := time.Until(mustExpire(t, f)) - 60*24*time.Hour
		c, err = secure.Open(f, secure.Options{Now: func() time.Time { return time.Now().Add(skew) }})
		require.NoError(t, err)
		done := make(chan struct{})
		go func() { defer close(done); c.Run(t.Context()) }()
		for from, to := range map[string]string{next.Cert: f.Cert, next.Key: f.Key} {
			data, err := os.ReadFile(from)
			require.NoError(t, err)
			put(t, to, data)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		self, _ := c.Self()
		require.Equal(t, "after", self.Name)
		select {
		case <-done:
			t.Error("Run has ended before its context")
		default:
		}
	})
}

func mustExpire(t *testing.T, f secure.Files) time.Time {
	t.Helper()
	data, err := os.ReadFile(f.Cert)
	require.NoError(t, err)
	certs, err := secure.ParseCertificates(f.Cert, data)
	require.NoError(t, err)
	return certs[0].NotAfter
}

func TestTheLogWarnsOnceADayFromThirtyDaysBefore(t *testing.T) {
	t.Parallel()
	ca := newCA(t, domain)
	f := files(t, ca, task.RoleServer, "s")
	end := mustExpire(t, f)
	now := end.Add(-31 * 24 * time.Hour)
	log := &lines{}
	c, err := secure.Open(f, secure.Options{Logger: log.logger(), Now: func() time.Time { return now }})
	require.NoError(t, err)
	c.Warn()
	require.Empty(t, log.all())
	for day := 30; day >= -1; day-- {
		now = end.Add(-time.Duration(day)*24*time.Hour + time.Minute)
		for range 3 {
			c.Warn()
		}
	}
	all := log.all()
	require.Len(t, all, 32)
	require.Contains(t, all[0], "expires soon")
	require.Contains(t, all[0], "days_left=29")
	require.Contains(t, all[0], `certificate=spiffe://rota.test/rota/server/s`)
	require.Contains(t, all[31], "level=ERROR")
	require.Contains(t, all[31], "has expired")

	replace(t, ca, f, task.RoleServer, "s")
	now = time.Now()
	c.Look()
	c.Look()
	c.Warn()
	require.Len(t, log.all(), 33)
	var kinds []bool
	for _, e := range c.Expiries() {
		kinds = append(kinds, e.CA)
	}
	require.Equal(t, []bool{false, true}, kinds)
}

func TestFilesThatCannotBeUsedAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	ca := newCA(t, domain)
	good := files(t, ca, task.RoleServer, "s")
	foreign, err := newCA(t, "other.test").Issue(pki.Request{Role: task.RoleServer, Name: "s", Validity: pki.Day}, time.Now())
	require.NoError(t, err)
	at := func(data []byte) string {
		path := filepath.Join(t.TempDir(), "file")
		put(t, path, data)
		return path
	}
	bare := made(t, ca, func(c *x509.Certificate) {
		c.URIs, c.IsCA, c.BasicConstraintsValid, c.KeyUsage = nil, true, true, x509.KeyUsageCertSign
	})
	for name, tt := range map[string]struct {
		files  secure.Files
		reason secure.Reason
		says   string
	}{
		"no bundle":        {secure.Files{}, secure.ReasonFiles, "no CA bundle is named"},
		"no key":           {secure.Files{CA: good.CA, Cert: good.Cert}, secure.ReasonFiles, "name both files, or neither"},
		"missing":          {secure.Files{CA: good.CA + "x"}, secure.ReasonFiles, "no such file"},
		"leaf as bundle":   {secure.Files{CA: good.Cert}, secure.ReasonFiles, "not that of a CA"},
		"swapped":          {secure.Files{CA: good.CA, Cert: good.Key, Key: good.Cert}, secure.ReasonFiles, "another kind than CERTIFICATE"},
		"foreign":          {secure.Files{CA: good.CA, Cert: at(foreign.Cert), Key: at(foreign.Key)}, secure.ReasonUnknownCA, "give both ends the same CA bundle"},
		"other domain":     {secure.Files{CA: good.CA, TrustDomain: "other.test"}, secure.ReasonOtherDomain, "of two trust domains"},
		"malformed domain": {secure.Files{CA: good.CA, TrustDomain: "Rota"}, secure.ReasonFiles, "lower-case"},
		"many CAs":         {secure.Files{CA: at([]byte(strings.Repeat(string(ca.Cert), 17)))}, secure.ReasonFiles, "at most 16"},
		"no domain":        {secure.Files{CA: at(pemOf(bare))}, secure.ReasonFiles, "name the trust domain"},
	} {
		_, err := secure.Open(tt.files, secure.Options{})
		require.Equal(t, tt.reason, secure.ReasonOf(err), "%s: %v", name, err)
		require.ErrorContains(t, err, tt.says, name)
	}
	_, err = secure.Open(secure.Files{CA: at(pemOf(bare)), TrustDomain: "rota.test"}, secure.Options{})
	require.NoError(t, err)
	_, err = open(t, secure.Files{CA: good.CA}).Server(secure.Accept{})
	require.ErrorContains(t, err, "a port needs a certificate")
}
