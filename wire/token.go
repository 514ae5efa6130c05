package wire

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
)

const (
	// readTokenEvery is how often the file of a token is read again at most, so that a token that is replaced is used soon.
	readTokenEvery = time.Second
	// maxTokenFile bounds the file of a token, bytes.
	maxTokenFile = 4 << 10
)

// Token is where the access token of a client comes from. It is sent over connections with TLS only: in plain text,
// everybody between could keep it.
type Token struct {
	path string

	mu     sync.Mutex
	secret Secret
	read   time.Time
}

// FixedToken is a token that does not change.
func FixedToken(secret Secret) *Token { return &Token{secret: secret} }

// FileToken is the token in a file. The file is read now, and again while the token is used.
func FileToken(path string) (*Token, error) {
	t := &Token{path: path}
	secret, err := t.load()
	if err != nil {
		return nil, err
	}
	t.secret, t.read = secret, time.Now()
	return t, nil
}

// Option returns the option of Dial that sends the token with each call. It needs those of Secure.
func (t *Token) Option() grpc.DialOption { return grpc.WithPerRPCCredentials(t) }

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (t *Token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{AuthorizationKey: "Bearer " + t.current().Reveal()}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (t *Token) RequireTransportSecurity() bool { return true }

// current is the token as it is now. A file that cannot be read for a moment changes nothing.
func (t *Token) current() Secret {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.path != "" && time.Since(t.read) >= readTokenEvery {
		t.read = time.Now()
		if secret, err := t.load(); err == nil {
			t.secret = secret
		}
	}
	return t.secret
}

func (t *Token) load() (Secret, error) {
	f, err := os.Open(t.path)
	if err != nil {
		return "", fmt.Errorf("read the access token: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxTokenFile))
	if err != nil {
		return "", fmt.Errorf("read the access token: %w", err)
	}
	secret, err := ParseSecret(string(b))
	if err != nil {
		return "", fmt.Errorf("%s: %w", t.path, err)
	}
	return secret, nil
}
