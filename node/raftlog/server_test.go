package node

import (
	"bytes"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
)

// stable gives f the stable store of a server that has ended, as it is on disk.
func stable(t *testing.T, cfg Config, f func(s logStore)) {
	t.Helper()
	s, err := openLog(cfg.DataDir, cfg.LogStore, &identity{HasLog: true, LogStore: cfg.LogStore}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	f(s)
	require.NoError(t, s.Close())
}

func TestADamagedTermOrVoteIsRefused(t *testing.T) {
	onEachLog(t, func(t *testing.T, cfg Config) {
		n := start(t, cfg)
		submit(t, n, "a")
		stop(t, n)
		for _, key := range []string{currentTerm, "LastVoteTerm"} {
			var whole []byte
			stable(t, cfg, func(s logStore) {
				raw, err := s.Get([]byte(key))
				require.NoError(t, err)
				whole = bytes.Clone(raw)
			})
			for at := range whole {
				wrong := bytes.Clone(whole)
				wrong[at] ^= 1
				stable(t, cfg, func(s logStore) {
					require.NoError(t, s.Set([]byte(key), wrong))
					_, err := (&checkedStable{s}).GetUint64([]byte(key))
					require.ErrorContains(t, err, corruptLog, fmt.Sprint(key, at))
				})
			}
			if key == currentTerm {
				refused(t, cfg, "join anew")
			}
			stable(t, cfg, func(s logStore) { require.NoError(t, s.Set([]byte(key), whole)) })
		}
		n = start(t, cfg)
		requireJobs(t, n, 1)
		stop(t, n)
	})
}

// A folder of a version that stored no checksums goes on, and gets them.
func TestATermAndVoteWithoutChecksumsAreTaken(t *testing.T) {
	onEachLog(t, func(t *testing.T, cfg Config) {
		n := start(t, cfg)
		submit(t, n, "a")
		stop(t, n)
		stable(t, cfg, func(s logStore) {
			for _, key := range []string{currentTerm, "LastVoteTerm"} {
				value, err := (&checkedStable{s}).GetUint64([]byte(key))
				require.NoError(t, err)
				require.NotZero(t, value)
				require.NoError(t, s.SetUint64([]byte(key), value))
			}
			candidate, err := (&checkedStable{s}).Get([]byte("LastVoteCand"))
			require.NoError(t, err)
			require.NotEmpty(t, candidate)
			require.NoError(t, s.Set([]byte("LastVoteCand"), candidate))
		})
		n = start(t, cfg)
		requireJobs(t, n, 1)
		stop(t, n)
		stable(t, cfg, func(s logStore) {
			raw, err := s.Get([]byte(currentTerm))
			require.NoError(t, err)
			require.Len(t, raw, sealBytes+8)
		})
	})
}
