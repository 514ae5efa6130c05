package main

import (
	"log/slog"

	"github.com/spf13/pflag"

	"github.com/rota-scheduler/rota/wire/secure"
)

// tlsFlags are the files of a process that speaks TLS.
type tlsFlags struct{ files secure.Files }

func (t *tlsFlags) add(f *pflag.FlagSet) {
	f.StringVar(&t.files.CA, "tls-ca", "", "file with the CAs that are trusted; empty: plain text, on this machine only")
	f.StringVar(&t.files.Cert, "tls-cert", "", "file with the certificate of this process")
	f.StringVar(&t.files.Key, "tls-key", "", "file with the key of that certificate")
	isPath(f, "tls-ca", "tls-cert", "tls-key")
}

// open loads the files; nil: none are named.
func (t *tlsFlags) open(log *slog.Logger) (*secure.Config, error) {
	if t.files == (secure.Files{}) {
		return nil, nil
	}
	c, err := secure.Open(t.files, secure.Options{Logger: log})
	return c, usageOf(err)
}
