package node

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/internal/atomicfile"
	"github.com/rota-scheduler/rota/node/raftlog"
	"github.com/rota-scheduler/rota/node/raftnet"
	"github.com/rota-scheduler/rota/task"
)

// NewFolder is the data folder of the first server of a new cluster, which a tool makes of a state that there is.
type NewFolder struct {
	// Dir is the folder. There must be none, or an empty one.
	Dir string
	// NodeID and PeerAddr are those of the server: the only one of the new cluster, with a vote.
	NodeID, PeerAddr string
	// LogStore is LogStoreWAL or LogStoreBolt; "": the first.
	LogStore string
	// LeaseTimeout is that of the servers of the old cluster. Default 10 s. The new cluster grants no exclusive tasks before several of
	// these leases are over: the old one may have granted them behind the backup.
	LeaseTimeout time.Duration
	// WithoutTokens forgets all access tokens. Those that were revoked behind the backup are valid again otherwise.
	WithoutTokens bool
	Logger        *slog.Logger
}

const (
	// settleLeases is how many leases exclusive tasks wait: a worker ends its own before one is over, so two are to spare.
	settleLeases = 3
	// maxBehind is how long a new cluster waits until the clock of its machine is past that of the state. Clocks of machines
	// that are kept in step differ by less.
	maxBehind = time.Minute
)

// NewCluster says what the new cluster is and where it goes on.
type NewCluster struct {
	ClusterID, NodeID, ServerID string
	// FromCluster and FromIndex are those of the state that it was made of.
	FromCluster string
	FromIndex   uint64
	// Index and Term are where its log goes on.
	Index, Term uint64
	// NextJob and NextToken are what it gives out next.
	NextJob, NextToken uint64
	LogVersion         uint32
	// Sessions and Jobs are what goes on: workers that are expected back, and jobs that have not ended.
	Sessions, Jobs int
	// Tokens are the access tokens that are valid, as people know them.
	Tokens []string
}

// check finds what is wrong with what was asked for.
func (f *NewFolder) check() error {
	for _, err := range []error{task.ValidNodeID("--node-id", f.NodeID), task.ValidAddr("--peer-addr", f.PeerAddr)} {
		if err != nil {
			return err
		}
	}
	if f.LogStore != "" && raftlog.FileName(f.LogStore) == "" {
		return fmt.Errorf("--log-store %q is not known: use %s or %s", f.LogStore, LogStoreWAL, LogStoreBolt)
	}
	setDefault(&f.LeaseTimeout, DefaultLeaseTimeout)
	if most := fsm.MaxSettle / settleLeases; f.LeaseTimeout < 0 || f.LeaseTimeout > most {
		return fmt.Errorf("--lease-timeout %v is out of range: use up to %v", f.LeaseTimeout, most)
	}
	in, err := os.ReadDir(f.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(in) > 0:
		return fmt.Errorf("%s is not empty: a new cluster needs a folder of its own", f.Dir)
	}
	return nil
}

// source is where the state of a new cluster comes from.
type source struct {
	cause fsm.Cause
	// ahead is how far the clock of the state was ahead of the clock on the wall when it was saved. It went on like that.
	ahead time.Duration
	// receive puts the state into a file of a folder, and checks it.
	receive func(dir string) (file string, err error)
	// apply applies what the file does not have; nil: it has all.
	apply func(*store.State) error
}

// build makes the folder beside its place, and moves it there when it is complete: after a crash there is none.
func (f *NewFolder) build(from source) (made NewCluster, err error) {
	if err := f.check(); err != nil {
		return made, err
	}
	place := filepath.Clean(f.Dir)
	if err := os.MkdirAll(filepath.Dir(place), 0o700); err != nil {
		return made, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(place), filepath.Base(place)+".making-")
	if err != nil {
		return made, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	file, err := from.receive(dir)
	if err != nil {
		return made, err
	}
	if made, err = f.fill(dir, file, from); err != nil {
		return made, err
	}
	if err := os.Remove(place); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return made, err // it has got something in it meanwhile
	}
	return made, atomicfile.Rename(dir, place)
}

// fill makes everything that a data folder has, of a state.
func (f *NewFolder) fill(dir, file string, from source) (made NewCluster, err error) {
	id := identity{NodeID: f.NodeID}
	if id.ServerID, err = newID(); err != nil {
		return made, err
	}
	owner := store.Identity{NodeID: id.NodeID, ServerID: id.ServerID}
	if err := store.Put(file, dir, owner); err != nil {
		return made, err
	}
	state, err := store.OpenState(dir, owner, f.Logger)
	if err != nil {
		return made, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, state.Abandon())
		}
	}()
	if from.apply != nil {
		if err := from.apply(state); err != nil {
			return made, err
		}
	}
	encoded := raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{{ID: id.raftID(), Address: raft.ServerAddress(f.PeerAddr)}}})
	at, err := f.begin(state, from, encoded)
	if err != nil {
		return made, err
	}
	snapshots, err := store.OpenSnapshots(state, f.Logger)
	if err != nil {
		return made, err
	}
	place := store.SnapshotPlace{Index: at.Index, Term: at.Term, StateIndex: at.Index, ConfigurationIndex: at.Index}
	if err := snapshots.Begin(place, encoded); err != nil {
		return made, err
	}
	if id.LogStore, err = makeLog(dir, f.LogStore, at.Term, f.Logger); err != nil {
		return made, err
	}
	id.HasLog = true
	made = summary(state.Machine(), id)
	// The identity comes last: a folder without it is refused.
	return made, errors.Join(state.Close(), writeIdentity(dir, id), atomicfile.SyncFolder(dir))
}

// begin begins the incarnation.
func (f *NewFolder) begin(state *store.State, from source, configuration []byte) (at fsm.Place, err error) {
	clusterID, err := newID()
	if err != nil {
		return at, err
	}
	var raw [8]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return at, err
	}
	_, _, clock := state.Machine().Applied()
	now := func() int64 { return time.Now().Add(from.ahead).UnixNano() }
	if behind := time.Duration(clock - now() + 1); behind > 0 && behind <= maxBehind {
		f.Logger.Info("the clock of this machine is behind that of the state: waiting", "for", behind)
		time.Sleep(behind)
	}
	at, err = state.Machine().BeginIncarnation(&fsm.Beginning{
		ID: max(1, binary.BigEndian.Uint64(raw[:])), ClusterID: clusterID, Cause: from.cause, Now: now(), Settle: settleLeases * f.LeaseTimeout,
		Configuration: configuration, DropAccess: f.WithoutTokens,
	})
	if err != nil {
		return at, err
	}
	return at, state.Flush()
}

// makeLog makes an empty log, in which no vote was given in a term up to this one, and says of which kind it is.
func makeLog(dir, kind string, term uint64, logger *slog.Logger) (made string, err error) {
	var failed error
	log, err := raftlog.Open(raftlog.Config{
		Dir: dir, Kind: kind, Fatal: func(err error) { failed = err }, Ending: make(chan struct{}), Logger: logger, WALLogger: raftnet.NewLogger(logger),
	})
	if err != nil {
		return "", err
	}
	return log.Kind(), errors.Join(log.SetTerm(term), failed, log.Close())
}

// summary says what has become of a state.
func summary(m *fsm.Machine, id identity) NewCluster {
	index, term, now := m.Applied()
	inc := m.Incarnation()
	job, token := m.Next()
	var tokens []string
	for _, t := range m.AccessTokens() {
		if !fsm.AccessExpired(t, now) {
			tokens = append(tokens, fmt.Sprintf("%s (%s)", task.AccessID(t.Hash), t.Name))
		}
	}
	return NewCluster{
		Tokens: tokens, ClusterID: m.ClusterID(), NodeID: id.NodeID, ServerID: id.ServerID, FromCluster: inc.GetFromCluster(), FromIndex: inc.GetFromIndex(),
		Index: index, Term: term, NextJob: job, NextToken: token, LogVersion: m.ActiveVersion(),
		Sessions: m.Stats().Sessions, Jobs: m.Stats().Jobs, // all others have left memory: everything was flushed
	}
}
