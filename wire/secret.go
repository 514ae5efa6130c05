package wire

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/rota-scheduler/rota/task"
)

const (
	// secretBytes is how many random bytes an access token has. Nobody can guess 256 bits, so a fast hash is enough.
	secretBytes = 32
	// secretPrefix lets people, and programs that look for leaked secrets, recognise one.
	secretPrefix = "rota_"
)

// Secret is the text of an access token. Whoever has it has the token's rights, so it prints as its id.
type Secret string

// NewSecret makes an access token.
func NewSecret() Secret {
	var b [secretBytes]byte
	_, _ = rand.Read(b[:]) // it never fails: it ends the process instead
	return Secret(secretPrefix + base64.RawURLEncoding.EncodeToString(b[:]))
}

// ParseSecret checks the form of an access token.
func ParseSecret(text string) (Secret, error) {
	text = strings.TrimSpace(text)
	rest, ok := strings.CutPrefix(text, secretPrefix)
	b, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if !ok || err != nil || len(b) != secretBytes {
		return "", task.Errorf(task.KindUnauthenticated, "this is no access token: one begins with %s and has %d characters; make one with rota token create",
			secretPrefix, len(secretPrefix)+base64.RawURLEncoding.EncodedLen(secretBytes))
	}
	return Secret(text), nil
}

// Hash is what stands for the token in the replicated state.
func (s Secret) Hash() []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}

// ID is the public id of the token.
func (s Secret) ID() string { return task.AccessID(s.Hash()) }

// Reveal returns the text itself.
func (s Secret) Reveal() string { return string(s) }

// String hides the text from logs and messages.
func (s Secret) String() string {
	if s == "" {
		return "no access token"
	}
	return "access token " + task.AccessID(s.Hash())
}

// Format hides the text from all verbs.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue hides the text from logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the text from JSON.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
