package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/hashicorp/raft"
)

const (
	snapshotsDir = "snapshots"
	snapshotFile = "snapshot.json"
	receivedFile = "received.state"
)

// Snapshots is a raft.SnapshotStore that keeps one snapshot, the newest. A snapshot
// taken here is metadata only; one that came from a leader has its content until the
// state machine has taken it over.
type Snapshots struct {
	dir   string
	state *State
	log   *slog.Logger

	mu     sync.Mutex
	newest *snapshotRecord
}

// snapshotRecord is what is written of a snapshot.
type snapshotRecord struct {
	Version            raft.SnapshotVersion
	ID                 string
	Index, Term        uint64
	Configuration      []byte
	ConfigurationIndex uint64
	// StateIndex is the index that state.db must have reached at least. It is lower
	// than Index where the entries between never reach the state machine.
	StateIndex uint64
	// Received says that the content is in the folder.
	Received bool
	Size     int64
}

// OpenSnapshots opens the snapshots of the state's data folder.
func OpenSnapshots(state *State, log *slog.Logger) (*Snapshots, error) {
	s := &Snapshots{dir: filepath.Join(state.dir, snapshotsDir), state: state, log: log}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(s.dir, snapshotFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		s.newest = &snapshotRecord{}
		if err := json.Unmarshal(data, s.newest); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, filepath.Join(s.dir, snapshotFile), err)
		}
	}
	return s, s.sweep()
}

// sweep deletes what a crash has left of snapshots that were being received, or had
// been taken over.
func (s *Snapshots) sweep() error {
	left, err := filepath.Glob(filepath.Join(s.dir, "receiving-*"))
	if err != nil {
		return err
	}
	if s.newest == nil || !s.newest.Received {
		left = append(left, filepath.Join(s.dir, receivedFile))
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Newest returns index, term and needed state index of the newest snapshot; ok is
// false where there is none.
func (s *Snapshots) Newest() (index, term, stateIndex uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil {
		return 0, 0, 0, false
	}
	return s.newest.Index, s.newest.Term, s.newest.StateIndex, true
}

// Heal restores the state from a received snapshot that is newer than it: raft lists
// a snapshot before the state machine has it, and a crash in between would lose what
// it holds. It must be called before raft starts.
func (s *Snapshots) Heal() (healed bool, err error) {
	s.mu.Lock()
	rec := s.newest
	s.mu.Unlock()
	if rec == nil || !rec.Received {
		return false, nil
	}
	if s.state.Machine().AppliedIndex() >= rec.StateIndex {
		// The crash came behind the restore: only its content is left to be dropped.
		return false, s.drop()
	}
	f, err := os.Open(filepath.Join(s.dir, receivedFile))
	if err != nil {
		return false, err
	}
	defer f.Close()
	if err := s.Restore(f); err != nil {
		return false, err
	}
	return true, nil
}

// Restore puts a streamed state in the place of the current one.
func (s *Snapshots) Restore(r io.Reader) error {
	path, _, err := Receive(s.state.dir, r)
	if err != nil {
		return err
	}
	if err := s.state.Install(path); err != nil {
		return err
	}
	return s.drop()
}

// drop forgets the content of a received snapshot: state.db has it now.
func (s *Snapshots) drop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil || !s.newest.Received {
		return nil
	}
	rec := *s.newest
	rec.Received, rec.Size = false, 0
	if err := s.write(&rec); err != nil {
		return err
	}
	return os.Remove(filepath.Join(s.dir, receivedFile))
}

// write makes rec the newest snapshot. s.mu is held.
func (s *Snapshots) write(rec *snapshotRecord) error {
	data, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	tmp := filepath.Join(s.dir, snapshotFile+".new")
	if err := writeSynced(tmp, data); err != nil {
		return err
	}
	if err := replace(tmp, filepath.Join(s.dir, snapshotFile)); err != nil {
		return err
	}
	s.newest = rec
	return nil
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// List implements raft.SnapshotStore.
func (s *Snapshots) List() ([]*raft.SnapshotMeta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil {
		return nil, nil
	}
	return []*raft.SnapshotMeta{s.newest.meta()}, nil
}

func (r *snapshotRecord) meta() *raft.SnapshotMeta {
	return &raft.SnapshotMeta{
		Version: r.Version, ID: r.ID, Index: r.Index, Term: r.Term, Size: r.Size,
		Configuration: raft.DecodeConfiguration(r.Configuration), ConfigurationIndex: r.ConfigurationIndex,
	}
}

// Open implements raft.SnapshotStore. Content that was received and not taken over is
// returned as it came; else the live file is streamed, with the index that it has.
func (s *Snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	rec := s.newest
	s.mu.Unlock()
	if rec == nil || rec.ID != id {
		return nil, nil, fmt.Errorf("there is no snapshot %s", id)
	}
	if rec.Received {
		f, err := os.Open(filepath.Join(s.dir, receivedFile))
		return rec.meta(), f, err
	}
	st, err := s.state.stream()
	if err != nil {
		return nil, nil, err
	}
	meta := rec.meta()
	meta.Size = st.size
	// The entries up to rec.Index that state.db has not seen are none of its own.
	if st.meta.AppliedIndex > rec.Index {
		meta.Index, meta.Term = st.meta.AppliedIndex, st.meta.AppliedTerm
	}
	if st.meta.ConfigIndex > rec.ConfigurationIndex {
		meta.Configuration = raft.DecodeConfiguration(st.meta.Configuration)
		meta.ConfigurationIndex = st.meta.ConfigIndex
	}
	return meta, st, nil
}

// Create implements raft.SnapshotStore.
func (s *Snapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	return &sink{
		store: s,
		rec: snapshotRecord{
			Version: version, ID: fmt.Sprintf("%d-%d", term, index), Index: index, Term: term,
			Configuration: raft.EncodeConfiguration(configuration), ConfigurationIndex: configurationIndex,
		},
	}, nil
}

// sink takes a snapshot: a promise about state.db from Persist, or, from a leader, bytes.
type sink struct {
	store *Snapshots
	rec   snapshotRecord
	file  *os.File
	// promised: it needs no content.
	promised bool
	done     bool
}

// ID implements raft.SnapshotSink.
func (k *sink) ID() string { return k.rec.ID }

// Write implements raft.SnapshotSink, for content that comes from a leader.
func (k *sink) Write(p []byte) (int, error) {
	if k.file == nil {
		f, err := os.CreateTemp(k.store.dir, "receiving-*")
		if err != nil {
			return 0, err
		}
		k.file = f
	}
	n, err := k.file.Write(p)
	k.rec.Size += int64(n)
	return n, err
}

// Promise says that state.db has reached index, and that this is all there is to
// write.
func (k *sink) Promise(index uint64) { k.rec.StateIndex, k.promised = index, true }

// Close implements raft.SnapshotSink: the snapshot is there once it returns nil.
func (k *sink) Close() error {
	if k.done {
		return nil
	}
	k.done = true
	if k.file == nil && !k.promised {
		return fmt.Errorf("snapshot %s has no content", k.rec.ID)
	}
	if k.file != nil {
		if err := k.keepReceived(); err != nil {
			return errors.Join(err, os.Remove(k.file.Name()))
		}
	}
	k.store.mu.Lock()
	defer k.store.mu.Unlock()
	return k.store.write(&k.rec)
}

// keepReceived checks what was received and moves it into place.
func (k *sink) keepReceived() error {
	if err := errors.Join(k.file.Sync(), k.file.Close()); err != nil {
		return err
	}
	f, err := os.Open(k.file.Name())
	if err != nil {
		return err
	}
	defer f.Close()
	// Checked in full here too: a snapshot that is listed must be one that can be
	// restored.
	path, meta, err := Receive(k.store.state.dir, f)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	k.rec.Received, k.rec.StateIndex = true, meta.AppliedIndex
	return replace(k.file.Name(), filepath.Join(k.store.dir, receivedFile))
}

// Cancel implements raft.SnapshotSink.
func (k *sink) Cancel() error {
	if k.done {
		return nil
	}
	k.done = true
	if k.file == nil {
		return nil
	}
	return errors.Join(k.file.Close(), os.Remove(k.file.Name()))
}

// Promiser is implemented by the sinks of Snapshots.
type Promiser interface {
	// Promise says that state.db has reached index.
	Promise(index uint64)
}
