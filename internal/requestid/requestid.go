package requestid

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"slices"
	"strings"
)

const (
	// idBytes is how many random bytes an id has: two among a million requests of a day should not be the same.
	idBytes = 8
	// maxID bounds an id, bytes: other tools have longer ones, such as UUIDs.
	maxID = 64
)

// New returns an id.
func New() string {
	var b [idBytes]byte
	_, _ = rand.Read(b[:]) // it never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}

// Valid says whether an id may be used.
func Valid(id string) bool {
	return len(id) > 0 && len(id) <= maxID && !strings.ContainsFunc(id, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
	})
}

// key is the context key of a request.
type key struct{}

// request is what a context knows of one.
type request struct {
	id  string
	job uint64
}

// With returns a context of the request with an id.
func With(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, key{}, request{id: id})
}

// WithJob returns a context of a request that is about a job.
func WithJob(ctx context.Context, job uint64) context.Context {
	r, _ := ctx.Value(key{}).(request)
	r.job = job
	return context.WithValue(ctx, key{}, r)
}

// From returns the id of the request of a context; "": there is none.
func From(ctx context.Context) string {
	r, _ := ctx.Value(key{}).(request)
	return r.id
}

// Handler returns h with the request and the job of the context in each line.
func Handler(h slog.Handler) slog.Handler { return handler{h} }

type handler struct{ slog.Handler }

// Handle implements slog.Handler.
func (h handler) Handle(ctx context.Context, line slog.Record) error {
	if r, ok := ctx.Value(key{}).(request); ok {
		line = line.Clone()
		if r.id != "" {
			line.AddAttrs(slog.String("request_id", r.id))
		}
		if r.job != 0 {
			line.AddAttrs(slog.Uint64("job", r.job))
		}
	}
	return h.Handler.Handle(ctx, line)
}

// WithAttrs implements slog.Handler.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h handler) WithGroup(name string) slog.Handler { return handler{h.Handler.WithGroup(name)} }

// hidden are keys whose values must not be in a log. Nobody is to log them in the first place; this is for the day when somebody does.
var hidden = []string{"authorization", "access_token", "secret", "password", "private_key", "payload", "env", "command", "output", "stderr"}

// Hide is a ReplaceAttr of slog.HandlerOptions that hides what must not be in a log.
func Hide(_ []string, a slog.Attr) slog.Attr {
	if slices.Contains(hidden, strings.ToLower(a.Key)) {
		return slog.String(a.Key, "(hidden)")
	}
	return a
}
