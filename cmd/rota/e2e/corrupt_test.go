package e2e

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// flips is how often to flip random bytes, in another place each time.
const flips = 8

// Servers notice flipped bytes: they refuse to start, or end when they read those bytes.
// They never serve anything else than what was written.
func TestFlippedBytesAreNeverServed(t *testing.T) {
	t.Parallel()
	d := damage(t)
	t.Run("in a result", func(t *testing.T) {
		d := d.in(t)

		var id uint64
		for id = range d.truth {
			break
		}
		data, err := os.ReadFile(d.file())
		require.NoError(t, err)
		require.True(t, bytes.Contains(data, d.truth[id]))
		wrong := bytes.Clone(d.truth[id])
		wrong[len(wrong)/2] ^= 1
		require.NoError(t, os.WriteFile(d.file(), bytes.ReplaceAll(data, d.truth[id], wrong), 0o600))
		before := d.logSize()
		require.NoError(t, d.victim.Start())
		// A server whose state.db was a little behind reads the result while it replays
		// its log, and never becomes ready.
		if poll(within, func() bool { return !d.victim.Running() || d.isReady() }); d.victim.Running() {
			_, err = d.outputAt(d.victim, id)
			require.Error(t, err)
		}
		d.gaveUp(t, before)
		d.reset()
	})
	refused := 0
	for round := range flips {
		seed := rand.Uint64()
		random := rand.New(rand.NewPCG(seed, 0))
		data, err := os.ReadFile(d.file())
		require.NoError(t, err)
		// After the two meta pages: one of them is enough, so damage there may go unnoticed.
		const page, meta = 4096, 2 * 4096
		for range 1 + random.IntN(8) {
			at := meta + random.IntN(used(data)-meta)
			if round%2 == 1 {
				// At the start of a page, which has its kind and the places of its keys.
				at = at/page*page + random.IntN(48)
			}
			data[at] ^= byte(1 + random.IntN(255))
		}
		require.NoError(t, os.WriteFile(d.file(), data, 0o600))
		before := d.logSize()
		require.NoError(t, d.victim.Start())
		if poll(within, func() bool { return !d.victim.Running() || d.isReady() }); d.victim.Running() {
			t.Logf("seed %d", seed)
			d.served(t, before)
		} else {
			refused++
			require.Equal(t, 1, d.victim.ExitCode(), "seed %d: %s", seed, d.logFrom(before))
			require.Contains(t, d.logFrom(before), stateFile, "seed %d", seed)
			require.NotContains(t, d.logFrom(before), "goroutine ", "seed %d", seed)
		}
		d.reset()
	}
	t.Logf("%d of %d damaged files were refused at once", refused, flips)
	t.Run("unharmed", func(t *testing.T) {
		d := d.in(t)
		d.healed()
	})
}

func (d *damaged) isReady() bool {
	reason, err := d.victim.Ready(context.Background())
	return err == nil && reason == ""
}

// gaveUp requires that the victim ended because of its file, and said so.
func (d *damaged) gaveUp(t *testing.T, before int64) {
	t.Helper()
	d = d.in(t)
	require.Equal(t, 1, d.ended(d.victim), d.logFrom(before))
	require.Contains(t, d.logFrom(before), "state.db is corrupt")
	require.Contains(t, d.logFrom(before), "Move")
	require.NotContains(t, d.logFrom(before), "goroutine ")
}

// served requires that the victim answers with what was written, or ends.
func (d *damaged) served(t *testing.T, before int64) {
	t.Helper()
	for id, want := range d.truth {
		got, err := d.outputAt(d.victim, id)
		if err != nil {
			t.Log(err)
			d.gaveUp(t, before)
			return
		}
		require.Equal(t, want, got, "job %d", id)
	}
}

// A server notices a flipped bit in its log when it replays the log. It does not build a state from it that differs
// from the others'.
func TestFlippedBitInTheLogIsNeverApplied(t *testing.T) {
	t.Parallel()
	d := damage(t, "--log-store", "boltdb")
	var id uint64
	for id = range d.truth {
		break
	}
	log := filepath.Join(d.dataDir(d.victim), "raft.db")
	data, err := os.ReadFile(log)
	require.NoError(t, err)
	require.True(t, bytes.Contains(data, d.truth[id]))
	wrong := bytes.Clone(d.truth[id])
	wrong[len(wrong)/2] ^= 1
	require.NoError(t, os.WriteFile(log, bytes.ReplaceAll(data, d.truth[id], wrong), 0o600))
	require.NoError(t, os.Remove(d.file()))
	d.refused("log")
	d.reset()
	d.healed()
}

// A server notices a page with false data about itself before bbolt uses it: bbolt walks all
// pages in a goroutine of its own, and would end the process without a useful message.
func TestPagesThatLieAreRefused(t *testing.T) {
	t.Parallel()
	d := damage(t)
	// A page begins with its number, flags, count and overflow, 16 bytes in all. Then come
	// its elements, each of which begins with flags.
	const page, leaf = 4096, 2
	for name, lie := range map[string]func(p []byte){
		"a value says that it is a bucket": func(p []byte) { p[16] |= 1 },
		"a page says that it is larger":    func(p []byte) { p[12]++ },
		"a page says that it is another":   func(p []byte) { p[0]++ },
		"a page has more keys":             func(p []byte) { p[10]++ },
	} {
		t.Run(name, func(t *testing.T) {
			d := d.in(t)
			defer d.reset()
			data, err := os.ReadFile(d.file())
			require.NoError(t, err)
			for at, end := 2*page, used(data); at+page <= end; at += page {
				// Pages whose first element is a value, not a bucket.
				if p := data[at : at+page]; p[8] == leaf && p[10]+p[11] > 0 && p[16] == 0 {
					lie(p)
				}
			}
			require.NoError(t, os.WriteFile(d.file(), data, 0o600))
			d.refused(stateFile, "Move")
		})
	}
	d.healed()
}
