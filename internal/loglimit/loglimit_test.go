package loglimit_test

import (
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/loglimit"
)

// output is what was written to a log, a line each.
type output struct {
	mu    sync.Mutex
	lines []string
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, string(p))
	return len(p), nil
}

func (o *output) take() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	lines := o.lines
	o.lines = nil
	return lines
}

func TestLinesAreShownUntilTheyAreTooMany(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out output
		lines := loglimit.New(slog.New(slog.NewTextHandler(&out, nil)))
		written := func() []string {
			synctest.Wait()
			return out.take()
		}
		several := func(n int) {
			for i := range n {
				lines.Info("came", "worker", i)
			}
		}
		several(loglimit.Most)
		lines.Warn("went", "worker", 1)
		require.Len(t, written(), loglimit.Most+1, "honest ones are all shown")
		several(1000)
		require.Empty(t, written())
		time.Sleep(loglimit.Pause)
		got := written()
		require.Len(t, got, 1)
		require.Contains(t, got[0], "level=INFO msg=came more_of_them=1000")
		several(1000)
		require.Empty(t, written(), "it goes on")
		time.Sleep(loglimit.Pause)
		require.Len(t, written(), 1)
		time.Sleep(loglimit.Pause)
		require.Empty(t, written())
		several(2)
		require.Len(t, written(), 2, "it is over")
		several(loglimit.Most)
		lines.Close()
		got = written()
		require.Contains(t, got[len(got)-1], "more_of_them=2")
		several(1)
		require.Len(t, written(), 1, "who is late is heard")
	})
}
