package secure

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

const (
	// maxFile bounds a file with certificates or a key, bytes. A certificate with its key has 2 KiB.
	maxFile = 256 << 10
	// maxCAs bounds the CAs of a bundle: two while the CA changes, and some for those who share a bundle. Each unknown
	// certificate is compared with all of them.
	maxCAs = 16
	// maxChain bounds the certificates that one end shows: its own and those of CAs between it and the bundle.
	maxChain = 4
)

// Files are what a process needs to speak TLS. All are PEM.
type Files struct {
	// CA has the certificates of all CAs that this process trusts.
	CA string
	// Cert has the certificate of this process, and Key its key. Both are "" for a client that has a token instead.
	Cert, Key string
	// TrustDomain is needed only if neither the certificate of this process nor that of a CA names it.
	TrustDomain string
}

// material is what the files had at one time, all of it checked.
type material struct {
	roots *x509.CertPool
	cas   []*x509.Certificate
	// cert is nil for a client without a certificate; self is who it says that this process is.
	cert   *tls.Certificate
	self   Peer
	domain string
}

// contents are the files as they are read, in the order of CA, certificate and key.
type contents [3][]byte

func (c contents) digest() [sha256.Size]byte {
	h := sha256.New()
	for _, data := range c {
		fmt.Fprintf(h, "%d:", len(data))
		h.Write(data)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// read reads the files, and checks nothing but their size.
func (f Files) read() (c contents, err error) {
	switch {
	case f.CA == "":
		return c, refuse(ReasonFiles, nil, "no CA bundle is named: it is the file ca.crt that rota tls init makes")
	case (f.Cert == "") != (f.Key == ""):
		return c, refuse(ReasonFiles, nil, "a certificate and its key belong together: name both files, or neither")
	}
	for i, path := range []string{f.CA, f.Cert, f.Key} {
		if path == "" {
			continue
		}
		if c[i], err = readBounded(path); err != nil {
			return c, err
		}
	}
	return c, nil
}

func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, refuse(ReasonFiles, err, "cannot read a file for TLS")
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	switch {
	case err != nil:
		return nil, refuse(ReasonFiles, err, "cannot read a file for TLS")
	case len(data) > maxFile:
		return nil, refuse(ReasonFiles, nil, "%s has more than %d bytes: name a file with nothing but certificates or a key", path, maxFile)
	}
	return data, nil
}

// load makes what connections need of the contents of the files.
func (f Files) load(c contents, now time.Time) (*material, error) {
	m := &material{roots: x509.NewCertPool(), domain: f.TrustDomain}
	var err error
	if m.cas, err = ParseCertificates(f.CA, c[0]); err != nil {
		return nil, err
	}
	if len(m.cas) > maxCAs {
		return nil, refuse(ReasonFiles, nil, "%s has %d CAs, and at most %d are allowed: remove those that no certificate needs", f.CA, len(m.cas), maxCAs)
	}
	for _, ca := range m.cas {
		if !ca.IsCA {
			return nil, refuse(ReasonFiles, nil, "the certificate %s in %s is not that of a CA: name the file ca.crt", describe(ca), f.CA)
		}
		m.roots.AddCert(ca)
	}
	if f.Cert != "" {
		if err := m.identify(f, c, now); err != nil {
			return nil, err
		}
	}
	return m, m.settleDomain(f)
}

// identify loads the certificate of this process. It must be one that the other end accepts if it has the same bundle:
// otherwise each connection would fail, with the reason in somebody else's log.
func (m *material) identify(f Files, c contents, now time.Time) error {
	chain, err := ParseCertificates(f.Cert, c[1])
	if err != nil {
		return err
	}
	if len(chain) > maxChain {
		return refuse(ReasonFiles, nil, "%s has %d certificates, and at most %d are allowed", f.Cert, len(chain), maxChain)
	}
	pair, err := tls.X509KeyPair(c[1], c[2])
	if err != nil {
		return refuse(ReasonFiles, err, "%s is not the certificate of the key in %s: name two files that were made together", f.Cert, f.Key)
	}
	id, err := IDOf(chain[0])
	if err != nil {
		return err
	}
	if err := verifyChain(m.roots, chain, now, x509.ExtKeyUsageClientAuth); err != nil {
		return err
	}
	m.cert, m.self = &pair, Peer{ID: id, NotAfter: chain[0].NotAfter}
	return nil
}

// settleDomain finds the trust domain, which all that name one must agree about.
func (m *material) settleDomain(f Files) error {
	if m.domain != "" {
		if err := CheckTrustDomain(m.domain); err != nil {
			return refuse(ReasonFiles, err, "the trust domain is malformed")
		}
	}
	names := []string{m.self.TrustDomain}
	for _, ca := range m.cas {
		names = append(names, TrustDomainOf(ca))
	}
	for _, name := range names {
		switch {
		case name == "" || name == m.domain:
		case m.domain == "":
			m.domain = name
		default:
			return refuse(ReasonOtherDomain, nil, "the files for TLS are of two trust domains, %q and %q: all CAs and certificates of a cluster are of one", m.domain, name)
		}
	}
	if m.domain == "" {
		return refuse(ReasonFiles, nil, "no CA in %s says which trust domain it is for: name the trust domain", f.CA)
	}
	return nil
}

// ParseCertificates returns the certificates in a file of PEM blocks. path is for messages.
func ParseCertificates(path string, data []byte) (certs []*x509.Certificate, err error) {
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		if block.Type != "CERTIFICATE" {
			return nil, refuse(ReasonFiles, nil, "%s has a block of another kind than CERTIFICATE: %q", path, cut(block.Type))
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, refuse(ReasonFiles, err, "%s has a damaged certificate", path)
		}
		certs = append(certs, cert)
	}
	switch {
	case bytes.Contains(data, []byte("-----BEGIN")):
		// The decoder passes over what it cannot read, and a CA that is missing shows much later.
		return nil, refuse(ReasonFiles, nil, "%s ends in the middle of a certificate: write it again", path)
	case len(certs) == 0:
		return nil, refuse(ReasonFiles, nil, "%s has no certificate: it must begin with -----BEGIN CERTIFICATE-----", path)
	}
	return certs, nil
}

// verifyChain checks that a CA of the bundle has signed a certificate, and that it may be used now and for this. The
// first one of the chain is the certificate, and the others are CAs between it and the bundle.
func verifyChain(roots *x509.CertPool, chain []*x509.Certificate, now time.Time, usage x509.ExtKeyUsage) error {
	if len(chain) > maxChain {
		return refuse(ReasonInvalid, nil, "the other end shows %d certificates, and at most %d are allowed", len(chain), maxChain)
	}
	between := x509.NewCertPool()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	var gone x509.CertificateInvalidError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &gone) || errors.As(err, new(x509.UnknownAuthorityError)):
		return Explain(err, now)
	}
	return refuse(ReasonInvalid, err, "the certificate %s is not usable", describe(chain[0]))
}
