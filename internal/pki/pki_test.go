package pki_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/pki"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire/secure"
)

func newCA(t *testing.T, now time.Time) *pki.CA {
	t.Helper()
	ca, err := pki.NewCA("rota.test", pki.CAValidity, now)
	require.NoError(t, err)
	return ca
}

func parse(t *testing.T, data []byte) *x509.Certificate {
	t.Helper()
	certs, err := secure.ParseCertificates("a test", data)
	require.NoError(t, err)
	require.Len(t, certs, 1)
	return certs[0]
}

func TestACertificateSaysWhoseItIsAndNoMore(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ca := newCA(t, now)
	serials := map[string]bool{ca.Certificate().SerialNumber.String(): true}
	for _, role := range task.Roles() {
		r := pki.Request{Role: role, Name: "x.example", Validity: pki.Validity}
		if role == task.RoleServer {
			r.Hosts = []string{"x.example", "*.x.example", "10.0.0.1", "::1"}
		}
		pair, err := ca.Issue(r, now)
		require.NoError(t, err)
		cert := parse(t, pair.Cert)
		id, err := secure.IDOf(cert)
		require.NoError(t, err)
		require.Equal(t, secure.ID{TrustDomain: "rota.test", Role: role, Name: "x.example"}, id)
		require.False(t, cert.IsCA)
		require.Equal(t, x509.KeyUsageDigitalSignature, cert.KeyUsage)
		require.WithinDuration(t, now.Add(pki.Validity), cert.NotAfter, time.Second)
		require.WithinDuration(t, now, cert.NotBefore, 10*time.Minute)
		require.NoError(t, cert.CheckSignatureFrom(ca.Certificate()))
		require.Equal(t, elliptic.P256(), cert.PublicKey.(*ecdsa.PublicKey).Curve)
		require.Equal(t, 127, cert.SerialNumber.BitLen())
		require.False(t, serials[cert.SerialNumber.String()])
		serials[cert.SerialNumber.String()] = true
		want := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		if role == task.RoleServer {
			want = append(want, x509.ExtKeyUsageServerAuth)
			require.Equal(t, []string{"x.example", "*.x.example"}, cert.DNSNames)
			require.Len(t, cert.IPAddresses, 2)
			require.True(t, cert.IPAddresses[0].Equal(net.ParseIP("10.0.0.1")))
		} else {
			require.Empty(t, cert.DNSNames)
		}
		require.Equal(t, want, cert.ExtKeyUsage)
	}
}

func TestACASignsCertificatesAndNoCAs(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ca := newCA(t, now)
	cert := ca.Certificate()
	require.True(t, cert.IsCA && cert.MaxPathLenZero && cert.MaxPathLen == 0)
	require.Equal(t, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, cert.KeyUsage)
	require.Equal(t, "spiffe://rota.test", cert.URIs[0].String())
	require.WithinDuration(t, now.Add(pki.CAValidity), cert.NotAfter, time.Second)
	require.NotEqual(t, newCA(t, now).Certificate().Subject.String(), cert.Subject.String())
	require.Equal(t, "rota.test", ca.TrustDomain())
}

func TestNoCertificateOutlivesItsCA(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ca := newCA(t, now)
	later := now.Add(pki.CAValidity - pki.Day)
	pair, err := ca.Issue(pki.Request{Role: task.RoleAdmin, Name: "x", Validity: pki.Validity}, later)
	require.NoError(t, err)
	require.Equal(t, ca.Certificate().NotAfter, parse(t, pair.Cert).NotAfter)
	_, err = ca.Issue(pki.Request{Role: task.RoleAdmin, Name: "x", Validity: pki.Validity}, later.Add(pki.Day))
	require.ErrorContains(t, err, "the CA expired on")
}

func TestWhatACertificateCannotSayIsRefused(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ca := newCA(t, now)
	good := pki.Request{Role: task.RoleServer, Name: "x", Validity: pki.Day}
	for says, change := range map[string]func(r *pki.Request){
		"unknown role":                 func(r *pki.Request) { r.Role = "root" },
		`"" cannot be a name`:          func(r *pki.Request) { r.Name = "" },
		`"a/b" cannot be a name`:       func(r *pki.Request) { r.Name = "a/b" },
		`".." cannot be a name`:        func(r *pki.Request) { r.Name = ".." },
		"aaa...\" cannot be a name":    func(r *pki.Request) { r.Name = strings.Repeat("a", 254) },
		"valid for 0 days":             func(r *pki.Request) { r.Validity = 0 },
		"use 1 to 36500":               func(r *pki.Request) { r.Validity = pki.MaxValidity + pki.Day },
		"only certificates of servers": func(r *pki.Request) { r.Role, r.Hosts = task.RoleWorker, []string{"a"} },
		`"a:7420" is no name`:          func(r *pki.Request) { r.Hosts = []string{"a:7420"} },
		`"https://a" is no name`:       func(r *pki.Request) { r.Hosts = []string{"https://a"} },
		`"" is no name`:                func(r *pki.Request) { r.Hosts = []string{""} },
		`"a..b" is no name`:            func(r *pki.Request) { r.Hosts = []string{"a..b"} },
		"for 65 hosts is too large":    func(r *pki.Request) { r.Hosts = make([]string, 65) },
	} {
		r := good
		change(&r)
		_, err := ca.Issue(r, now)
		require.ErrorContains(t, err, says)
	}
	for _, domain := range []string{"", "Rota", "a/b", ".a", "a.", "a..b", "a b", strings.Repeat("a", 254)} {
		_, err := pki.NewCA(domain, pki.Day, now)
		require.ErrorIs(t, err, task.ErrInvalid, domain)
	}
	_, err := pki.NewCA(strings.Repeat("a", 253), pki.Day, now)
	require.NoError(t, err)
}

func TestFilesAreForTheirOwnerAndNeverOverwritten(t *testing.T) {
	t.Parallel()
	now := time.Now()
	dir := filepath.Join(t.TempDir(), "tls", "ca")
	ca := newCA(t, now)
	require.NoError(t, ca.WriteCA(dir))
	require.ErrorIs(t, newCA(t, now).WriteCA(dir), task.ErrConflict)
	again, err := pki.ReadCA(dir)
	require.NoError(t, err)
	require.Equal(t, ca, again)

	pair, err := again.Issue(pki.Request{Role: task.RoleWorker, Name: "w", Validity: pki.Day}, now)
	require.NoError(t, err)
	out := filepath.Join(t.TempDir(), "w")
	require.NoError(t, ca.Write(out, task.RoleWorker, pair))
	for file, mode := range map[string]fs.FileMode{
		filepath.Join(dir, "ca.key"): 0o600, filepath.Join(dir, "ca.crt"): 0o644, dir: fs.ModeDir | 0o700,
		filepath.Join(out, "worker.key"): 0o600, filepath.Join(out, "worker.crt"): 0o644, filepath.Join(out, "ca.crt"): 0o644,
	} {
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode(), file)
	}
	require.NoError(t, os.Remove(filepath.Join(out, "worker.crt")))
	err = ca.Write(out, task.RoleWorker, pki.Pair{Cert: []byte("other"), Key: []byte("other")})
	require.ErrorIs(t, err, task.ErrConflict)
	require.ErrorContains(t, err, "worker.key exists")
	require.NoFileExists(t, filepath.Join(out, "worker.crt"))
	got, err := os.ReadFile(filepath.Join(out, "worker.key"))
	require.NoError(t, err)
	require.Equal(t, pair.Key, got)
}

func TestTheKeySaysWhichCAOfABundleSigns(t *testing.T) {
	t.Parallel()
	now := time.Now()
	first, second := newCA(t, now), newCA(t, now)
	both := bytes.Join([][]byte{first.Cert, second.Cert}, nil)
	ca, err := pki.LoadCA(both, second.Key)
	require.NoError(t, err)
	require.Equal(t, second.Certificate(), ca.Certificate())
	require.Equal(t, both, ca.Bundle)

	leaf, err := first.Issue(pki.Request{Role: task.RoleAdmin, Name: "x", Validity: pki.Day}, now)
	require.NoError(t, err)
	for says, pair := range map[string]pki.Pair{
		"none of the 1 CAs":         {Cert: first.Cert, Key: second.Key},
		"not that of a CA":          leaf,
		"must begin with":           {Cert: first.Cert},
		"damaged, or not PKCS #8":   {Cert: first.Cert, Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})},
		"has no certificate":        {Key: first.Key},
		"another kind":              {Cert: first.Key, Key: first.Key},
		"ends in the middle":        {Cert: first.Cert[:100], Key: first.Key},
		"has a damaged certificate": {Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), Key: first.Key},
	} {
		_, err := pki.LoadCA(pair.Cert, pair.Key)
		require.ErrorContains(t, err, says)
	}
	_, err = pki.ReadCA(t.TempDir())
	require.ErrorIs(t, err, task.ErrNotFound)
	require.ErrorContains(t, err, "rota tls init")
}
