package localcluster

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/rota-scheduler/rota/internal/pki"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire/secure"
)

const (
	tlsFolder   = "tls"
	trustDomain = "local.rota"
	// certValidity is how long the certificates of a local cluster are valid.
	certValidity = 365 * 24 * time.Hour
)

// certificates are those of a cluster, in a folder of its own folder: of a CA, and one of each role that is needed here.
type certificates struct {
	dir string
	// admin is the TLS of clients in this process.
	admin *secure.Config
}

// openCertificates makes the certificates, or takes those that the folder has already.
func openCertificates(cluster string) (*certificates, error) {
	c := &certificates{dir: filepath.Join(cluster, tlsFolder)}
	_, err := os.Stat(filepath.Join(c.dir, pki.CAKeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = c.make()
	}
	if err != nil {
		return nil, fmt.Errorf("make certificates for the cluster: %w", err)
	}
	c.admin, err = secure.Open(c.files(task.RoleAdmin), secure.Options{})
	return c, err
}

func (c *certificates) make() error {
	now := time.Now()
	ca, err := pki.NewCA(trustDomain, certValidity, now)
	if err != nil {
		return err
	}
	for _, role := range []task.Role{task.RoleServer, task.RoleWorker, task.RoleAdmin} {
		r := pki.Request{Role: role, Name: "local", Validity: certValidity}
		if role == task.RoleServer {
			r.Hosts = []string{"localhost", "127.0.0.1"}
		}
		pair, err := ca.Issue(r, now)
		if err != nil {
			return err
		}
		if err := ca.Write(filepath.Join(c.dir, string(role)), role, pair); err != nil {
			return err
		}
	}
	// Last, because it says that the others are there.
	return ca.WriteCA(c.dir)
}

func (c *certificates) files(role task.Role) secure.Files {
	cert, key := pki.Names(role)
	dir := filepath.Join(c.dir, string(role))
	return secure.Files{CA: filepath.Join(dir, pki.BundleFile), Cert: filepath.Join(dir, cert), Key: filepath.Join(dir, key)}
}

// flags are those of a process with a role; none: the cluster has no TLS.
func (c *certificates) flags(role task.Role) []string {
	if c == nil {
		return nil
	}
	f := c.files(role)
	return []string{"--tls-ca", f.CA, "--tls-cert", f.Cert, "--tls-key", f.Key}
}

// config is the TLS of clients in this process; nil: the cluster has none.
func (c *certificates) config() *secure.Config {
	if c == nil {
		return nil
	}
	return c.admin
}

// probes asks servers whether they are ready. It keeps no connections: those to a server that was killed would be errors.
func (c *certificates) probes() (scheme string, client *http.Client) {
	t := &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: probeTimeout}
	scheme = "http"
	if c != nil {
		scheme, t.TLSClientConfig = "https", c.admin.Client()
	}
	return scheme, &http.Client{Transport: t, Timeout: probeTimeout + time.Second}
}

// secure lets a process use the certificates, if there are any, from its next start on.
func (c *Cluster) secure(p *Process, role task.Role) {
	p.scheme, p.probes = c.certs.probes()
	p.AddArgs(c.certs.flags(role)...)
}

// Secure gives a process of a cluster without TLS certificates for its next start. From the first one on, clients of this
// package use TLS.
func (c *Cluster) Secure(p *Process) (err error) {
	if c.certs == nil {
		if c.certs, err = openCertificates(c.cfg.Dir); err != nil {
			return err
		}
	}
	role := task.RoleWorker
	if p.HTTPAddr != "" {
		role = task.RoleServer
	}
	c.secure(p, role)
	return nil
}
