package main

import (
	"log/slog"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"

	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/wire/secure"
)

// tlsFlags are the files of a process that speaks TLS.
type tlsFlags struct {
	files secure.Files
	// insecure: plain text may leave this machine.
	insecure bool
	// noCert: a token is used instead of the certificate that the environment names.
	noCert bool
}

func (t *tlsFlags) add(f *pflag.FlagSet) {
	f.StringVar(&t.files.CA, "tls-ca", "", "file with the CAs that are trusted; empty: plain text, on this machine only")
	f.StringVar(&t.files.Cert, "tls-cert", "", "file with the certificate of this process")
	f.StringVar(&t.files.Key, "tls-key", "", "file with the key of that certificate")
	f.BoolVar(&t.insecure, "insecure", false, "use plain text beyond this machine too: anybody in between can read and change everything, and run commands")
	isPath(f, "tls-ca", "tls-cert", "tls-key")
}

// open loads the files; nil: none are named.
func (t *tlsFlags) open(log *slog.Logger) (*secure.Config, error) {
	files := t.files
	if t.noCert {
		files.Cert, files.Key = "", ""
	}
	if files == (secure.Files{}) {
		return nil, nil
	}
	if t.insecure {
		return nil, usagef("--insecure is for plain text, and certificates are named too: leave out one of them")
	}
	c, err := secure.Open(files, secure.Options{Logger: log})
	return c, usageOf(err)
}

// plain says whether connections are in plain text, and must not leave this machine.
func (t *tlsFlags) plain() bool { return t.files.CA == "" && !t.insecure }

// dialOptions are those of connections to servers; none: they are in plain text, and stay on this machine.
func (t *tlsFlags) dialOptions(c *secure.Config) []grpc.DialOption {
	if t.insecure {
		return wire.Insecure()
	}
	return wire.Secure(c)
}
