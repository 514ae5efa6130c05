package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire/secure"
)

// maxCertificateFile bounds what tls show reads, bytes: the certificates of all public CAs have 200 KiB.
const maxCertificateFile = 1 << 20

// madeFile is where a certificate and its key are.
type madeFile struct{ cert, key string }

func (a *app) tlsShowCmd() *cobra.Command {
	return &cobra.Command{
		Use: "show FILE...", Short: "Show whose certificates are in files, and until when they are valid",
		Long:    "Shows each certificate of each file: its role and name, the hosts that browsers take it for, until\nwhen it is valid, and which CA has signed it. It does not check the signature.",
		Example: "  rota tls show tls/ca/ca.crt\n  rota tls show tls/ca/ca.crt -o json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return wantArgs("a file with certificates")(cmd, args)
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			var all []jsonv1.Certificate
			for _, file := range args {
				found, err := certificatesIn(file)
				if err != nil {
					return err
				}
				all = append(all, found...)
			}
			if a.format != formatTable {
				return a.printCertificates(all)
			}
			for i, c := range all {
				if err := a.showCertificate(i, c); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// certificatesIn reads the certificates of a file.
func certificatesIn(file string) ([]jsonv1.Certificate, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, &task.Error{Kind: task.KindNotFound, Msg: "cannot read the certificates", Err: err}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxCertificateFile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the certificates: %w", err)
	}
	if len(data) > maxCertificateFile {
		return nil, task.Errorf(task.KindTooLarge, "%s has more than %d bytes, and is no file of certificates", file, maxCertificateFile)
	}
	certs, err := secure.ParseCertificates(file, data)
	if err != nil {
		return nil, err
	}
	var all []jsonv1.Certificate
	for _, cert := range certs {
		all = append(all, certificateJSON(file, cert))
	}
	return all, nil
}

func certificateJSON(file string, cert *x509.Certificate) jsonv1.Certificate {
	sum := sha256.Sum256(cert.Raw)
	hosts := cert.DNSNames
	for _, ip := range cert.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	// A certificate of others may say any time, also the zero one of Go.
	starts, ends := cert.NotBefore.UTC(), cert.NotAfter.UTC()
	c := jsonv1.Certificate{
		File: file, CA: cert.IsCA, Hosts: jsonv1.List(hosts), Subject: cert.Subject.CommonName, Issuer: cert.Issuer.CommonName,
		Serial: cert.SerialNumber.Text(16), StartsAt: &starts, ExpiresAt: &ends,
		SHA256: hex.EncodeToString(sum[:]),
	}
	if cert.IsCA {
		c.TrustDomain = secure.TrustDomainOf(cert)
	} else if id, err := secure.IDOf(cert); err == nil {
		c.TrustDomain, c.Role, c.Name = id.TrustDomain, string(id.Role), id.Name
	}
	return c
}

// printMade prints the certificates that a command has just made, for programs.
func (a *app) printMade(made []madeFile) error {
	var all []jsonv1.Certificate
	for _, m := range made {
		found, err := certificatesIn(m.cert)
		if err != nil {
			return err
		}
		found[0].KeyFile = m.key
		all = append(all, found[0])
	}
	return a.printCertificates(all)
}

func (a *app) printCertificates(all []jsonv1.Certificate) error {
	list := a.newJSONList(a.out)
	for _, c := range all {
		if err := list.add(c); err != nil {
			return err
		}
	}
	return list.end()
}

func (a *app) showCertificate(i int, c jsonv1.Certificate) error {
	if i > 0 {
		if err := a.print("\n"); err != nil {
			return err
		}
	}
	role := c.Role
	switch {
	case c.CA:
		role = "CA"
	case role == "":
		role = "none: rota has not made this certificate"
	}
	return a.fields(
		[2]string{"File", c.File}, [2]string{"Role", role}, [2]string{"Name", c.Name}, [2]string{"Trust domain", c.TrustDomain},
		[2]string{"Hosts", strings.Join(c.Hosts, ", ")}, [2]string{"Subject", c.Subject},
		[2]string{"Valid from", c.StartsAt.Format(time.RFC3339)}, [2]string{"Valid until", validUntil(*c.ExpiresAt, time.Now())},
		[2]string{"Signed by", c.Issuer}, [2]string{"Serial", c.Serial}, [2]string{"SHA-256", c.SHA256},
	)
}

func validUntil(end, now time.Time) string {
	text := end.Format(time.RFC3339)
	if left := end.Sub(now); left > 0 {
		return text + ", " + plural(int(left.Hours()/24), "day") + " left"
	}
	return text + ": it has expired"
}
