package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire/secure"
)

const (
	// Day is the unit of the validity of certificates.
	Day = 24 * time.Hour
	// CAValidity is how long a CA is valid by default.
	CAValidity = 3650 * Day
	// Validity is how long other certificates are valid by default.
	Validity = 365 * Day
	// MaxValidity bounds both: more is a slip of the keyboard.
	MaxValidity = 100 * 365 * Day

	// clockSkew is how far clocks may differ: a certificate is valid this long before it is made.
	clockSkew = 5 * time.Minute
	// serialBits is how long a serial number is. It is random, so that two CAs, or a CA that was restored, do not give out
	// the same one twice. The standard allows up to 159 bits.
	serialBits = 127
	// maxHosts bounds the names and addresses in a certificate, which is sent with each handshake.
	maxHosts = 64
	// maxHost is how long the name of a host may be, bytes: as DNS has it.
	maxHost = 253
)

// Pair is a certificate with its key, PEM.
type Pair struct{ Cert, Key []byte }

// CA is what certificates are made with.
type CA struct {
	Pair
	// Bundle has the CA and all others that are to be trusted with it, PEM.
	Bundle []byte

	cert   *x509.Certificate
	key    crypto.Signer
	domain string
}

// NewCA makes a CA for a trust domain.
func NewCA(domain string, validity time.Duration, now time.Time) (*CA, error) {
	if err := secure.CheckTrustDomain(domain); err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		// The number tells CAs of one domain apart.
		Subject:               pkix.Name{CommonName: fmt.Sprintf("Rota CA %s %08x", cutName(domain), new(big.Int).Rsh(serial, serialBits-32))},
		URIs:                  []*url.URL{secure.TrustDomainURI(domain)},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	if err := setValidity(template, validity, now); err != nil {
		return nil, err
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	pair, err := sign(template, template, key, key)
	if err != nil {
		return nil, err
	}
	return LoadCA(pair.Cert, pair.Key)
}

// cutName makes the name of a domain fit into a common name, which may have 64 characters.
func cutName(domain string) string { return domain[:min(len(domain), 40)] }

// LoadCA returns a CA from its files. The bundle may have other CAs too: the key says which one it is.
func LoadCA(bundle, key []byte) (*CA, error) {
	certs, err := secure.ParseCertificates("the CA bundle", bundle)
	if err != nil {
		return nil, err
	}
	signer, err := parseKey(key)
	if err != nil {
		return nil, err
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return nil, task.Errorf(task.KindInvalid, "the key of the CA is of a kind that cannot sign certificates: make one with rota tls ca")
	}
	for _, cert := range certs {
		if !public.Equal(cert.PublicKey) {
			continue
		}
		if !cert.IsCA || len(cert.URIs) != 1 || secure.CheckTrustDomain(cert.URIs[0].Host) != nil {
			return nil, task.Errorf(task.KindInvalid, "the certificate of the key is not that of a CA for a trust domain: make one with rota tls ca")
		}
		return &CA{
			Pair:   Pair{Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), Key: key},
			Bundle: bundle, cert: cert, key: signer, domain: cert.URIs[0].Host,
		}, nil
	}
	return nil, task.Errorf(task.KindInvalid, "none of the %d CAs in the bundle belongs to the key: use two files that were made together", len(certs))
}

// TrustDomain is the trust domain of the certificates that a CA makes.
func (ca *CA) TrustDomain() string { return ca.domain }

// Certificate is that of the CA.
func (ca *CA) Certificate() *x509.Certificate { return ca.cert }

// Request is what a certificate is to be.
type Request struct {
	Role task.Role
	Name string
	// Hosts are names and IP addresses of a server.
	Hosts    []string
	Validity time.Duration
}

// Issue makes a key and a certificate.
func (ca *CA) Issue(r Request, now time.Time) (Pair, error) {
	id := secure.ID{TrustDomain: ca.domain, Role: r.Role, Name: r.Name}
	if err := id.Check(); err != nil {
		return Pair{}, err
	}
	serial, err := newSerial()
	if err != nil {
		return Pair{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{Organization: []string{"Rota"}, OrganizationalUnit: []string{string(r.Role)}},
		URIs:         []*url.URL{id.URI()},
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		// It cannot sign others.
		BasicConstraintsValid: true,
	}
	if len(r.Name) <= 64 {
		template.Subject.CommonName = r.Name
	}
	if r.Role == task.RoleServer {
		// A server is the client of other servers.
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if err := addHosts(template, r); err != nil {
		return Pair{}, err
	}
	if err := setValidity(template, r.Validity, now); err != nil {
		return Pair{}, err
	}
	if !now.Before(ca.cert.NotAfter) {
		return Pair{}, task.Errorf(task.KindInvalid, "the CA expired on %s: make a new one with rota tls ca", ca.cert.NotAfter.UTC().Format(time.RFC3339))
	}
	if template.NotAfter.After(ca.cert.NotAfter) {
		template.NotAfter = ca.cert.NotAfter
	}
	key, err := newKey()
	if err != nil {
		return Pair{}, err
	}
	return sign(template, ca.cert, key, ca.key)
}

func addHosts(template *x509.Certificate, r Request) error {
	if len(r.Hosts) > maxHosts {
		return task.Errorf(task.KindTooLarge, "a certificate for %d hosts is too large: name at most %d", len(r.Hosts), maxHosts)
	}
	if len(r.Hosts) > 0 && r.Role != task.RoleServer {
		return task.Errorf(task.KindInvalid, "only certificates of servers have hosts, and this one is for the role %s: leave the hosts out", r.Role)
	}
	for _, host := range r.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		if err := CheckHost(host); err != nil {
			return err
		}
		template.DNSNames = append(template.DNSNames, host)
	}
	return nil
}

// CheckHost says what is wrong with the name or address of a host.
func CheckHost(host string) error {
	if net.ParseIP(host) != nil {
		return nil
	}
	ok := len(host) <= maxHost
	for label := range strings.SplitSeq(strings.TrimPrefix(host, "*."), ".") {
		ok = ok && label != "" && len(label) <= 63 && strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
	}
	if !ok {
		return task.Errorf(task.KindInvalid, "%.100q is no name or IP address of a host: write it without a port and without a scheme, such as a.example or 10.0.0.1", host)
	}
	return nil
}

func setValidity(template *x509.Certificate, validity time.Duration, now time.Time) error {
	if validity <= 0 || validity > MaxValidity {
		return task.Errorf(task.KindInvalid, "a certificate cannot be valid for %d days: use 1 to %d", int(validity/Day), int(MaxValidity/Day))
	}
	template.NotBefore, template.NotAfter = now.Add(-clockSkew), now.Add(validity)
	return nil
}

func newSerial() (*big.Int, error) {
	// The highest bit is set, so that all have the same length and none is zero.
	top := new(big.Int).Lsh(big.NewInt(1), serialBits-1)
	n, err := rand.Int(rand.Reader, top)
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	return n.Add(n, top), nil
}

func newKey() (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return key, nil
}

func parseKey(data []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, task.Errorf(task.KindInvalid, "the key of the CA must begin with -----BEGIN PRIVATE KEY-----")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, &task.Error{Kind: task.KindInvalid, Msg: "the key of the CA is damaged, or not PKCS #8", Err: err}
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, task.Errorf(task.KindInvalid, "the key of the CA cannot sign")
	}
	return signer, nil
}

// sign makes a certificate of template for key, signed by the key of parent.
func sign(template, parent *x509.Certificate, key, by crypto.Signer) (Pair, error) {
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		return Pair{}, fmt.Errorf("sign a certificate: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("encode a key: %w", err)
	}
	var cert, private bytes.Buffer
	// Writing into memory does not fail.
	_ = pem.Encode(&cert, &pem.Block{Type: "CERTIFICATE", Bytes: raw})
	_ = pem.Encode(&private, &pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	return Pair{Cert: cert.Bytes(), Key: private.Bytes()}, nil
}
