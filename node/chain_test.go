package node

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/sealedfile"
	"github.com/rota-scheduler/rota/node/raftlog"
)

// requireChain requires that each entry of a log names the entry before it that the state machine sees. prev is the
// one before the first. It returns the number of entries.
func requireChain(t *testing.T, n *Node, prev fsm.Place) (entries int) {
	t.Helper()
	first, err := n.log.FirstIndex()
	require.NoError(t, err)
	last, err := n.log.LastIndex()
	require.NoError(t, err)
	for i := first; i <= last; i++ {
		var l raft.Log
		require.NoError(t, n.log.GetLog(i, &l))
		named, has, err := raftlog.Previous(&l)
		require.NoError(t, err)
		require.True(t, has, "entry %d", i)
		require.Equal(t, prev, named, "entry %d", i)
		if raftlog.Sees(&l) {
			prev = raftlog.PlaceOf(&l)
		}
		entries++
	}
	return entries
}

func TestEachEntryNamesTheOneBefore(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{LogStoreWAL, LogStoreBolt} {
		cfg := config(t, t.TempDir())
		cfg.LogStore = kind
		n := start(t, cfg)
		submitMany(t, n, "a", "b")
		require.NoError(t, n.Barrier(t.Context()))
		submit(t, n, "c")
		require.NoError(t, n.Barrier(t.Context()))
		require.Greater(t, requireChain(t, n, fsm.Place{}), 6)
		crash(t, n)
		// The next entries begin with the no-op of another leader.
		n = start(t, cfg)
		submit(t, n, "d")
		require.Greater(t, requireChain(t, n, fsm.Place{}), 8)
		// If the log has no entry to name any more, the state knows the place.
		require.NoError(t, n.Barrier(t.Context()))
		before := *n.applier.at.Load()
		snapshotKeeping(t, n, 1)
		stop(t, n)
		n = start(t, cfg)
		submit(t, n, "e")
		requireChain(t, n, before)
		stop(t, n)
	}
}

// Nothing behind a gap is applied, wherever the gap comes from.
func TestAnEntryBehindAGapStopsTheServer(t *testing.T) {
	t.Parallel()
	data, err := fsm.EncodeEntry(fsm.GateVersion, 1, []*logpb.Op{submitOp(t, "late")})
	require.NoError(t, err)
	for name, prev := range map[string]func(at fsm.Place) fsm.Place{
		"entries are missing": func(at fsm.Place) fsm.Place { return fsm.Place{Index: at.Index + 1, Term: at.Term} },
		"of another term":     func(at fsm.Place) fsm.Place { return fsm.Place{Index: at.Index, Term: at.Term + 1} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(t, t.TempDir())
			fatal := make(chan error, 1)
			cfg.Fatal = func(err error) { fatal <- err }
			n := start(t, cfg)
			submit(t, n, "a")
			at := *n.applier.at.Load()
			l := &raft.Log{Index: at.Index + 9, Term: at.Term, Type: raft.LogCommand, Data: data, Extensions: raftlog.EncodePrevious(prev(at))}
			n.applier.ApplyBatch([]*raft.Log{l})
			err := <-fatal
			require.ErrorIs(t, err, fsm.ErrGap)
			requireWords(t, err, "this server must stop", "join anew")
			require.Equal(t, at.Index, n.State().Machine().AppliedIndex())
			require.Error(t, n.Barrier(t.Context()))
		})
	}
}

func TestEntriesThatNameNothingPass(t *testing.T) {
	t.Parallel()
	n := start(t, config(t, t.TempDir()))
	data, err := fsm.EncodeEntry(fsm.GateVersion, 1, []*logpb.Op{submitOp(t, "old")})
	require.NoError(t, err)
	at := *n.applier.at.Load()
	l := &raft.Log{Index: at.Index + 9, Term: at.Term, Type: raft.LogCommand, Data: data}
	n.applier.ApplyBatch([]*raft.Log{l})
	require.Equal(t, l.Index, n.State().Machine().AppliedIndex())
	// An entry that was applied already is not checked again.
	l.Index, l.Extensions = at.Index, raftlog.EncodePrevious(fsm.Place{Index: 1 << 40})
	n.applier.ApplyBatch([]*raft.Log{l})
}

// Raft believes that everything in its newest snapshot is applied.
func TestALeaderThatLacksEntriesAnswersNobody(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	fatal := make(chan error, 1)
	cfg.Fatal = func(err error) { fatal <- err }
	n := start(t, cfg)
	submit(t, n, "a")
	at := *n.applier.at.Load()
	n.applier.at.Store(&fsm.Place{Index: at.Index + 100, Term: at.Term})
	require.Error(t, n.Barrier(t.Context()))
	requireWords(t, <-fatal, "this server must stop", "the state ends at")
}

// snapshotFields is the record of a snapshot.
type snapshotFields struct {
	Version            int
	ID                 string
	Index, Term        uint64
	Configuration      []byte
	ConfigurationIndex uint64
	StateIndex         uint64
	Received           bool
	Size               int64
}

// A snapshot that does not belong to the log makes raft skip entries, or lose servers. Files
// of versions without checksums may have any bit flipped.
func TestStartRefusesASnapshotOfAnotherLog(t *testing.T) {
	t.Parallel()
	moved := func(s *snapshotFields, by int64) {
		s.Index = uint64(int64(s.Index) + by)
		s.ID = fmt.Sprintf("%d-%d", s.Term, s.Index)
	}
	for name, tc := range map[string]struct {
		damage func(s *snapshotFields)
		words  string
	}{
		"ahead of the state":    {func(s *snapshotFields) { moved(s, 5) }, "nothing behind index"},
		"ahead of the log":      {func(s *snapshotFields) { moved(s, 100) }, "nothing behind index"},
		"ahead of its entry":    {func(s *snapshotFields) { moved(s, 2) }, "nothing behind index"},
		"behind its entry":      {func(s *snapshotFields) { s.StateIndex -= 2; moved(s, -1) }, "nothing behind index"},
		"a later term":          {func(s *snapshotFields) { s.Term++; moved(s, 0) }, "of term"},
		"an earlier term":       {func(s *snapshotFields) { s.Term--; moved(s, 0) }, "of term"},
		"other servers":         {func(s *snapshotFields) { s.Configuration = otherServers }, "other servers"},
		"servers of later":      {func(s *snapshotFields) { s.ConfigurationIndex++ }, "has the servers of index 2"},
		"nonsense as servers":   {func(s *snapshotFields) { s.Configuration = s.Configuration[1:] }, "corrupt"},
		"an id of another one":  {func(s *snapshotFields) { s.Index += 100 }, "corrupt"},
		"a state that is later": {func(s *snapshotFields) { s.StateIndex += 100 }, "corrupt"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(t, t.TempDir())
			n := start(t, cfg)
			submitMany(t, n, "a", "b", "c")
			snapshotKeeping(t, n, math.MaxUint64)
			submitMany(t, n, "d", "e", "f")
			stop(t, n)
			path := filepath.Join(cfg.DataDir, "snapshots", "snapshot.json")
			s, _, err := sealedfile.Read[snapshotFields](path)
			require.NoError(t, err)
			tc.damage(&s)
			for _, sealed := range []bool{false, true} {
				if sealed {
					require.NoError(t, sealedfile.Write(path, s))
				} else {
					old, err := json.Marshal(s)
					require.NoError(t, err)
					require.NoError(t, os.WriteFile(path, old, 0o600))
				}
				refused(t, cfg, tc.words, "join anew")
			}
		})
	}
}

var otherServers = raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{{ID: "n9", Address: "127.0.0.1:9"}}})

func TestASnapshotWithoutAChecksumIsSealedAtTheStart(t *testing.T) {
	t.Parallel()
	for _, trailing := range []uint64{1, math.MaxUint64} {
		cfg := config(t, t.TempDir())
		n := start(t, cfg)
		submitMany(t, n, "a", "b", "c")
		snapshotKeeping(t, n, trailing)
		submitMany(t, n, "d")
		stop(t, n)
		path := filepath.Join(cfg.DataDir, "snapshots", "snapshot.json")
		want, _, err := sealedfile.Read[snapshotFields](path)
		require.NoError(t, err)
		old, err := json.Marshal(want)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, old, 0o600))
		n = start(t, cfg)
		requireJobs(t, n, 4)
		got, sealed, err := sealedfile.Read[snapshotFields](path)
		require.NoError(t, err)
		require.True(t, sealed)
		require.Equal(t, want, got)
		stop(t, n)
	}
}

// The log has entries of a build that did not name the entry before, with checksums of four bytes.
func TestALogWithoutNamesGoesOn(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	cfg.LogStore = LogStoreBolt
	n := start(t, cfg)
	submitMany(t, n, "a", "b")
	stop(t, n)
	onLog(t, cfg.DataDir, func(log raft.LogStore) {
		last, err := log.LastIndex()
		require.NoError(t, err)
		for i := uint64(1); i <= last; i++ {
			var l raft.Log
			require.NoError(t, log.GetLog(i, &l))
			require.NotEmpty(t, l.Extensions)
			l.Extensions = nil
			require.NoError(t, log.StoreLog(&l))
		}
	})
	n = start(t, cfg)
	before := *n.applier.at.Load()
	submit(t, n, "c")
	requireJobs(t, n, 3)
	last, err := n.log.LastIndex()
	require.NoError(t, err)
	var l raft.Log
	require.NoError(t, n.log.GetLog(last, &l))
	prev, named, err := raftlog.Previous(&l)
	require.NoError(t, err)
	require.True(t, named)
	require.Equal(t, before, prev)
	require.NoError(t, n.raft.Barrier(time.Second).Error())
}
