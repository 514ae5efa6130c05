package secure

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/rota-scheduler/rota/task"
)

// maxShown bounds what messages show of text from a certificate, bytes.
const maxShown = 200

// Reason is the machine-readable reason of a refusal, for metrics and logs.
type Reason string

// The reasons for which a connection is refused, or files are not loaded.
const (
	// ReasonNoCertificate: the other end showed none.
	ReasonNoCertificate Reason = "no-certificate"
	// ReasonExpired and ReasonNotYetValid: the certificate, or that of its CA, is not valid now.
	ReasonExpired     Reason = "expired"
	ReasonNotYetValid Reason = "not-yet-valid"
	// ReasonUnknownCA: no CA of the bundle has signed it.
	ReasonUnknownCA Reason = "unknown-ca"
	// ReasonNoIdentity: it does not say who it belongs to.
	ReasonNoIdentity Reason = "no-identity"
	// ReasonOtherDomain: it belongs to another trust domain.
	ReasonOtherDomain Reason = "other-trust-domain"
	// ReasonWrongRole: its role may not be at this end of this connection.
	ReasonWrongRole Reason = "wrong-role"
	// ReasonInvalid: it is broken, or may not be used for this.
	ReasonInvalid Reason = "invalid"
	// ReasonPlainText: the other end does not speak TLS.
	ReasonPlainText Reason = "plain-text"
	// ReasonRefused: the other end refused the certificate of this one.
	ReasonRefused Reason = "refused"
	// ReasonFiles: the files cannot be read or do not fit together.
	ReasonFiles Reason = "files"
	// ReasonOther: the handshake failed for another reason, such as a broken connection.
	ReasonOther Reason = "other"
)

// Error is why a connection was refused, or why files were not loaded. Its message says what to do.
type Error struct {
	Reason Reason
	Msg    string
	// Err is the cause, or nil.
	Err error
}

// Error returns the message, followed by that of the cause.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Msg + ": " + e.Err.Error()
	}
	return e.Msg
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is lets errors.Is match by reason: errors.Is(err, &secure.Error{Reason: secure.ReasonExpired}).
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Msg == "" && t.Reason == e.Reason
}

// ReasonOf returns the reason of an error; ReasonOther if it has none.
func ReasonOf(err error) Reason {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ReasonOther
}

func refuse(reason Reason, cause error, format string, args ...any) *Error {
	return &Error{Reason: reason, Msg: fmt.Sprintf(format, args...), Err: cause}
}

// alerts are what the other end says when it refuses a certificate, as crypto/tls puts it.
var alerts = []struct{ text, meaning string }{
	{"expired certificate", "the other end says that the certificate of this process is not valid now: look at it with rota tls show, and at the clocks of both machines"},
	{"unknown certificate authority", "the other end does not know the CA of this process: give both the same CA bundle"},
	{"certificate required", "the other end wants a certificate: name one with its key"},
	{"bad certificate", "the other end refused the certificate of this process, and its log says why: look at role and trust domain with rota tls show"},
	{"protocol version not supported", "the other end does not speak TLS 1.3"},
}

// Explain makes an *Error of what a handshake, or the first read after it, failed with. It returns nil for nil. now is
// the time of the handshake.
func Explain(err error, now time.Time) error {
	var (
		known   *Error
		plain   tls.RecordHeaderError
		invalid x509.CertificateInvalidError
		unknown x509.UnknownAuthorityError
		remote  *net.OpError
	)
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.As(err, &plain):
		return refuse(ReasonPlainText, nil, "the other end does not speak TLS: give it a certificate, or use no TLS at either end")
	case errors.As(err, &unknown):
		return refuse(ReasonUnknownCA, nil, "no CA of the bundle has signed the certificate %s: give both ends the same CA bundle", describe(unknown.Cert))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return notValid(invalid.Cert, now)
	case errors.As(err, &invalid):
		return refuse(ReasonInvalid, nil, "the certificate %s is not usable: %s; make another one with rota tls cert", describe(invalid.Cert), invalid.Error())
	case strings.Contains(err.Error(), "client didn't provide a certificate"):
		return refuse(ReasonNoCertificate, nil, "the other end has shown no certificate, and this port needs one: make it with rota tls cert")
	case errors.As(err, &remote) && remote.Op == "remote error":
		for _, a := range alerts {
			if strings.Contains(remote.Err.Error(), a.text) {
				return refuse(ReasonRefused, err, "%s", a.meaning)
			}
		}
	}
	return refuse(ReasonOther, err, "the TLS handshake failed")
}

// notValid is the error for a certificate whose time has passed or has not come.
func notValid(cert *x509.Certificate, now time.Time) *Error {
	remedy := "make a new one with rota tls cert"
	if cert.IsCA {
		remedy = "make a new one with rota tls ca, and certificates from it"
	} else if id, err := IDOf(cert); err == nil {
		remedy += " --role " + string(id.Role) + " --name " + id.Name
	}
	if now.Before(cert.NotBefore) {
		return refuse(ReasonNotYetValid, nil, "the certificate %s is valid from %s on and here it is %s: set the clock that is wrong, or %s",
			describe(cert), stamp(cert.NotBefore), stamp(now), remedy)
	}
	return refuse(ReasonExpired, nil, "the certificate %s expired on %s and here it is %s: %s", describe(cert), stamp(cert.NotAfter), stamp(now), remedy)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// describe is how messages name a certificate. Whoever made it chose the text.
func describe(cert *x509.Certificate) string {
	switch {
	case cert == nil:
		return "of the other end"
	case len(cert.URIs) == 1:
		return fmt.Sprintf("%q", cut(cert.URIs[0].String()))
	case cert.Subject.CommonName != "":
		return fmt.Sprintf("%q", cut(cert.Subject.CommonName))
	}
	return "with the serial number " + cut(cert.SerialNumber.Text(16))
}

func cut(text string) string {
	if len(text) > maxShown {
		return text[:maxShown] + "..."
	}
	return text
}

// rolesText lists roles for messages.
func rolesText(roles []task.Role) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	return strings.Join(names, " or ")
}
