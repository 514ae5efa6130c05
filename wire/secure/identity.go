package secure

import (
	"crypto/x509"
	"net/url"
	"strings"
	"time"

	"github.com/rota-scheduler/rota/task"
)

const (
	// maxTrustDomain and maxName bound the parts of an identity, bytes: as long as the name of a host may be, because
	// a server may be called like its host.
	maxTrustDomain = 253
	maxName        = 253

	scheme = "spiffe"
	// product is the first part of each path, so that other products can use the same trust domain.
	product = "rota"
)

// ID is whom a certificate belongs to.
type ID struct {
	// TrustDomain is the name of a cluster, or of several that trust each other.
	TrustDomain string
	Role        task.Role
	// Name is which one of that role it is.
	Name string
}

// String returns the URI of the identity, as it is in certificates.
func (id ID) String() string { return id.URI().String() }

// URI returns the identity as certificates have it.
func (id ID) URI() *url.URL {
	return &url.URL{Scheme: scheme, Host: id.TrustDomain, Path: "/" + product + "/" + string(id.Role) + "/" + id.Name}
}

// Check says what is wrong with an identity.
func (id ID) Check() error {
	if err := CheckTrustDomain(id.TrustDomain); err != nil {
		return err
	}
	if _, err := task.ParseRole(string(id.Role)); err != nil {
		return err
	}
	if len(id.Name) == 0 || len(id.Name) > maxName || id.Name == "." || id.Name == ".." || strings.ContainsFunc(id.Name, notInName) {
		return task.Errorf(task.KindInvalid, "%q cannot be a name in a certificate: use 1 to %d letters, digits, dots, dashes and underscores",
			cut(id.Name), maxName)
	}
	return nil
}

// CheckTrustDomain says what is wrong with the name of a trust domain.
func CheckTrustDomain(domain string) error {
	if len(domain) == 0 || len(domain) > maxTrustDomain || strings.ContainsFunc(domain, func(r rune) bool { return notInName(r) || r >= 'A' && r <= 'Z' }) ||
		strings.HasPrefix(domain, ".") || strings.HasSuffix(domain, ".") || strings.Contains(domain, "..") {
		return task.Errorf(task.KindInvalid, "%q cannot be a trust domain: use 1 to %d lower-case letters, digits, dots, dashes and underscores, such as rota.example",
			cut(domain), maxTrustDomain)
	}
	return nil
}

func notInName(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-', r == '_':
		return false
	}
	return true
}

// TrustDomainURI is how the certificate of a CA names the trust domain that it is for.
func TrustDomainURI(domain string) *url.URL { return &url.URL{Scheme: scheme, Host: domain} }

// TrustDomainOf returns the trust domain that a CA is for; "": it names none, as CAs of other tools.
func TrustDomainOf(ca *x509.Certificate) string {
	if len(ca.URIs) == 1 && *ca.URIs[0] == *TrustDomainURI(ca.URIs[0].Host) {
		return ca.URIs[0].Host
	}
	return ""
}

// IDOf returns the identity in a certificate, whether or not anybody trusts it.
func IDOf(cert *x509.Certificate) (ID, error) {
	if len(cert.URIs) != 1 {
		return ID{}, refuse(ReasonNoIdentity, nil, "the certificate %s has %d URIs and needs exactly one, %s://TRUST-DOMAIN/%s/ROLE/NAME: make it with rota tls cert",
			describe(cert), len(cert.URIs), scheme, product)
	}
	u := cert.URIs[0]
	parts := strings.Split(u.Path, "/")
	if len(parts) == 4 && parts[0] == "" && parts[1] == product {
		id := ID{TrustDomain: u.Host, Role: task.Role(parts[2]), Name: parts[3]}
		// The comparison refuses ports, queries, fragments, users and escapes: whatever the identity does not say.
		if *u == *id.URI() && id.Check() == nil {
			return id, nil
		}
	}
	return ID{}, refuse(ReasonNoIdentity, nil, "the certificate %s has another kind of URI than %s://TRUST-DOMAIN/%s/ROLE/NAME: make it with rota tls cert",
		describe(cert), scheme, product)
}

// A Peer is who is at the other end of a connection, by its certificate.
type Peer struct {
	ID
	// NotAfter is when its certificate expires. The connection may live longer.
	NotAfter time.Time
}
