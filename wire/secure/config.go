package secure

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rota-scheduler/rota/task"
)

const (
	// lookEvery is how often the files are read. What has changed is used after two looks.
	lookEvery = 2 * time.Second
	// warnBefore is how long before a certificate expires the log begins to say so.
	warnBefore = 30 * 24 * time.Hour
	// warnEvery is how often the log says so.
	warnEvery = 24 * time.Hour
)

// Options are what Open may be given beside the files.
type Options struct {
	// Logger hears of files that were loaded or are not usable, and of certificates that expire. nil: nobody does.
	Logger *slog.Logger
	// Now is the clock that certificates are judged by; nil: time.Now.
	Now func() time.Time
}

// Config is the TLS of one process. It is safe for concurrent use.
type Config struct {
	files  Files
	logger *slog.Logger
	now    func() time.Time

	current atomic.Pointer[material]
	refused refusals

	// mu guards what the looks at the files remember.
	mu sync.Mutex
	// used is the hash of what is in use, seen that of the last look, and told that of what the log has a line about.
	used, seen, told [sha256.Size]byte
	warned           time.Time
}

// Open loads the files. The caller runs Run, if files that change are to be loaded again.
func Open(files Files, opt Options) (*Config, error) {
	c := &Config{files: files, logger: opt.Logger, now: opt.Now}
	if c.logger == nil {
		c.logger = slog.New(slog.DiscardHandler)
	}
	if c.now == nil {
		c.now = time.Now
	}
	if err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Reload loads the files at once. After an error, what was loaded before stays in use.
func (c *Config) Reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	data, err := c.files.read()
	if err != nil {
		return err
	}
	return c.use(data, data.digest())
}

// use loads the contents of the files. mu is held.
func (c *Config) use(data contents, digest [sha256.Size]byte) error {
	next, err := c.files.load(data, c.now())
	if err != nil {
		return err
	}
	if old := c.current.Load(); old != nil {
		// Ports and peers were chosen by these.
		switch {
		case old.domain != next.domain:
			return refuse(ReasonOtherDomain, nil, "the files are now of the trust domain %q instead of %q: restart this process to change it", next.domain, old.domain)
		case old.self.Role != next.self.Role:
			return refuse(ReasonWrongRole, nil, "the certificate now has the role %q instead of %q: restart this process to change it", next.self.Role, old.self.Role)
		}
	}
	c.current.Store(next)
	c.used, c.seen = digest, digest
	return nil
}

// Run looks at the files every few seconds until ctx ends, and warns of certificates that expire.
func (c *Config) Run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		c.warn()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.look()
		}
	}
}

// look loads files that have changed. It waits until two looks have found the same content, because a file that is
// being written may end anywhere, and a certificate and its key come one after the other.
func (c *Config) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	data, err := c.files.read()
	digest := data.digest()
	settled := digest == c.seen
	c.seen = digest
	if !settled || digest == c.used || digest == c.told {
		return
	}
	if err == nil {
		err = c.use(data, digest)
	}
	if err != nil {
		c.told = digest
		c.logger.Error("the files for TLS have changed and are not usable; what was loaded before stays in use", "error", err)
		return
	}
	c.told, c.warned = [sha256.Size]byte{}, time.Time{}
	c.logger.Info("loaded the changed files for TLS", "expires", c.current.Load().self.NotAfter, "cas", len(c.current.Load().cas))
}

// warn has a line in the log for each certificate that expires soon, once a day.
func (c *Config) warn() {
	now := c.now()
	c.mu.Lock()
	due := now.Sub(c.warned) >= warnEvery
	c.mu.Unlock()
	if !due {
		return
	}
	said := false
	for _, e := range c.Expiries() {
		left := e.NotAfter.Sub(now)
		if left >= warnBefore {
			continue
		}
		said = true
		level, msg := slog.LevelWarn, "a certificate expires soon; replace its file, and it is loaded without a restart"
		if left <= 0 {
			level, msg = slog.LevelError, "a certificate has expired, and others refuse it; replace its file, and it is loaded without a restart"
		}
		c.logger.Log(context.Background(), level, msg, "certificate", e.Subject, "ca", e.CA, "expires", e.NotAfter, "days_left", int(left.Hours()/24))
	}
	if said {
		c.mu.Lock()
		c.warned = now
		c.mu.Unlock()
	}
}

// Expiry is when one of the certificates of a process expires.
type Expiry struct {
	// Subject is the identity in the certificate, or the name of a CA.
	Subject  string
	CA       bool
	NotAfter time.Time
}

// Expiries are those of the certificate of this process and of all CAs of the bundle.
func (c *Config) Expiries() []Expiry {
	m := c.current.Load()
	var all []Expiry
	if m.cert != nil {
		all = append(all, Expiry{Subject: m.self.String(), NotAfter: m.self.NotAfter})
	}
	for _, ca := range m.cas {
		all = append(all, Expiry{Subject: cut(ca.Subject.CommonName), CA: true, NotAfter: ca.NotAfter})
	}
	return all
}

// Self is who this process is to others; false: it has no certificate.
func (c *Config) Self() (Peer, bool) {
	m := c.current.Load()
	return m.self, m.cert != nil
}

// TrustDomain is the trust domain that both ends of a connection must be of.
func (c *Config) TrustDomain() string { return c.current.Load().domain }

// Accept is who may connect to a port.
type Accept struct {
	// Roles are those that a certificate may have.
	Roles []task.Role
	// Anonymous lets in clients that show no certificate. One that is shown must be right all the same.
	Anonymous bool
	// Plain accepts plain text from this machine as well, for a cluster that changes to TLS.
	Plain bool
	// Protocols are offered by ALPN, such as h2.
	Protocols []string
}

// Server returns the TLS of a port. It fails if this process has no certificate.
func (c *Config) Server(a Accept) (*tls.Config, error) {
	if _, ok := c.Self(); !ok {
		return nil, refuse(ReasonFiles, nil, "a port needs a certificate with its key: make them with rota tls init, and name both files")
	}
	base := c.base(a.Protocols)
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		// One handshake uses one generation of the files.
		m := c.current.Load()
		cfg := c.base(a.Protocols)
		cfg.Certificates = []tls.Certificate{*m.cert}
		cfg.ClientCAs = m.roots
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
		if a.Anonymous {
			cfg.ClientAuth = tls.VerifyClientCertIfGiven
		}
		cfg.VerifyConnection = func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 && a.Anonymous {
				return nil
			}
			_, err := m.admit(s.PeerCertificates, a.Roles)
			return err
		}
		return cfg, nil
	}
	return base, nil
}

// Client returns the TLS of a dialler that speaks to servers.
func (c *Config) Client(protocols ...string) *tls.Config {
	cfg := c.base(protocols)
	// This turns off the check of the host's name, and the check of the chain with it. VerifyConnection does the latter.
	cfg.InsecureSkipVerify = true
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		m := c.current.Load()
		if len(s.PeerCertificates) == 0 {
			return refuse(ReasonNoCertificate, nil, "the server has shown no certificate")
		}
		if err := verifyChain(m.roots, s.PeerCertificates, c.now(), x509.ExtKeyUsageServerAuth); err != nil {
			return err
		}
		_, err := m.admit(s.PeerCertificates, []task.Role{task.RoleServer})
		return err
	}
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		// The certificate is shown whatever CAs the server names, so that the server can say what is wrong with it.
		if m := c.current.Load(); m.cert != nil {
			return m.cert, nil
		}
		return &tls.Certificate{}, nil
	}
	return cfg
}

// base is what all connections have in common.
func (c *Config) base(protocols []string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: slices.Clone(protocols),
		Time:       c.now,
		// A resumed session would skip the chain. Without tickets a server resumes none, and without a cache a client
		// has none.
		SessionTicketsDisabled: true,
	}
}

// admit returns whose certificate it is, if that one may be at this end. The chain is checked elsewhere.
func (m *material) admit(chain []*x509.Certificate, roles []task.Role) (Peer, error) {
	if len(chain) > maxChain {
		return Peer{}, refuse(ReasonInvalid, nil, "the other end shows %d certificates, and at most %d are allowed", len(chain), maxChain)
	}
	id, err := IDOf(chain[0])
	switch {
	case err != nil:
		return Peer{}, err
	case id.TrustDomain != m.domain:
		return Peer{}, refuse(ReasonOtherDomain, nil, "the certificate %q is of another trust domain than %q: make it with the CA of this cluster", id, m.domain)
	case !slices.Contains(roles, id.Role):
		return Peer{}, refuse(ReasonWrongRole, nil, "the certificate %q has the role %s, and this needs %s: use another certificate, or another port", id, id.Role, rolesText(roles))
	}
	return Peer{ID: id, NotAfter: chain[0].NotAfter}, nil
}

// PeerOf returns who is at the other end of a connection that Server has let in; false: it has shown no certificate.
func PeerOf(s *tls.ConnectionState) (Peer, bool) {
	if s == nil || len(s.VerifiedChains) == 0 {
		return Peer{}, false
	}
	id, err := IDOf(s.PeerCertificates[0])
	return Peer{ID: id, NotAfter: s.PeerCertificates[0].NotAfter}, err == nil
}
