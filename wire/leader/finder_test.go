package leader

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
)

// nobody follows no leader.
type nobody struct{}

func (nobody) Leader() string                                      { return "" }
func (nobody) Term() uint64                                        { return 0 }
func (nobody) Refute(uint64, uint64)                               {}
func (nobody) Follow(context.Context, *rotav1.WatchLeaderResponse) {}

// What one server names by mistake does not stay for good.
func TestServersThatWereNamedByMistakeAreForgotten(t *testing.T) {
	t.Parallel()
	f := New(Config{Addrs: []string{"a:1"}, Logger: slog.New(slog.DiscardHandler)}, nobody{})
	var lies []string
	for i := range 2 * MaxServers {
		lies = append(lies, "b:"+strconv.Itoa(i+1))
	}
	f.Named(lies)
	f.Learn("z:1")
	require.LessOrEqual(t, len(f.Known()), MaxServers)
	f.Named([]string{"a:1", "real:2"})
	require.Equal(t, []string{"a:1", "real:2"}, f.Known())
}

func TestAllServersThatWereGivenAreKnown(t *testing.T) {
	t.Parallel()
	var given []string
	for i := range 2 * MaxServers {
		given = append(given, "a:"+strconv.Itoa(i+1))
	}
	f := New(Config{Addrs: given, Logger: slog.New(slog.DiscardHandler)}, nobody{})
	f.Learn("z:1")
	require.ElementsMatch(t, given, f.Known())
	// It begins anywhere, and then goes around in the given order, not at random.
	first := slices.Index(given, f.Known()[0])
	require.Equal(t, slices.Concat(given[first:], given[:first]), f.Known())
	turns := map[string]bool{}
	for range given {
		turns[f.Next()] = true
	}
	require.Len(t, turns, len(given), "all in turn")
}
