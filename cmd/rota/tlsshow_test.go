package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestACertificateOfOthersIsShownInPlainText shows a certificate whose names a terminal would obey.
func TestACertificateOfOthersIsShownInPlainText(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: evil}, NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "evil.crt")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))

	var out, errs bytes.Buffer
	a := &app{out: &out, err: &errs, env: func(string) string { return "" }}
	require.Zero(t, a.run(t.Context(), []string{"tls", "show", file}), errs.String())
	requirePrintable(t, out.String())
	require.Contains(t, out.String(), `\x1b[31m`)
}
