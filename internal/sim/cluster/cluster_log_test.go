package cluster

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// loudLines counts the lines of all servers that operators see.
type loudLines struct {
	slog.Handler
	mu   sync.Mutex
	text []string
}

func (l *loudLines) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (l *loudLines) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l *loudLines) WithGroup(string) slog.Handler                    { return l }

func (l *loudLines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		return true
	})
	l.text = append(l.text, text)
	return nil
}

// take returns the lines since it was called last.
func (l *loudLines) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.text
	l.text = nil
	return out
}

// A server that is away costs a line when it goes, one when it is back, and one a minute between;
// and one that is alone, and cannot be elected, a few a minute.
func TestAServerThatIsAwayDoesNotFillTheLog(t *testing.T) {
	t.Parallel()
	dir := memoryDir(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		log := &loudLines{}
		c := New(Config{Servers: 3, Dir: dir, Seed: 1, Logger: slog.New(log)})
		require.NoError(t, c.StartAll())
		leader, err := c.WaitLeader(ctx)
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
		var followers []*Server
		for _, s := range c.Servers {
			if s != leader {
				followers = append(followers, s)
			}
		}
		log.take()
		require.NoError(t, followers[0].Crash())
		const minutes = 5
		time.Sleep(minutes*time.Minute + time.Second)
		lines := log.take()
		require.LessOrEqual(t, len(lines), 1+minutes, "%q", lines)
		require.NotEmpty(t, lines)
		require.NoError(t, followers[0].Start())
		time.Sleep(10 * time.Second)
		require.Contains(t, lineWith(log.take(), "answers again"), followers[0].Name)

		require.NoError(t, followers[0].Crash())
		require.NoError(t, followers[1].Crash())
		time.Sleep(minutes * time.Minute)
		lines = log.take()
		require.LessOrEqual(t, len(lines), 10*(1+minutes), "%q", lines)
		require.NoError(t, c.Close())
		require.NoError(t, c.Fatal())
	})
}

// lineWith is the one line that has a text.
func lineWith(lines []string, text string) (found string) {
	for _, l := range lines {
		if strings.Contains(l, text) {
			found += l
		}
	}
	return found
}
