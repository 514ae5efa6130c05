package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/internal/sealedfile"
)

const (
	snapshotsDir = "snapshots"
	snapshotFile = "snapshot.json"
	// receivedFile is a state that came from a leader, in the form of state.db;
	// receivingFile one that is being received.
	receivedFile  = "received.state"
	receivingFile = "receiving-*"
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
	// unsealed: newest was read from a file without a checksum.
	unsealed bool
}

// OpenSnapshots opens the snapshots of the state's data folder.
func OpenSnapshots(state *State, log *slog.Logger) (*Snapshots, error) {
	s := &Snapshots{dir: filepath.Join(state.dir, snapshotsDir), state: state, log: log}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	rec, sealed, err := sealedfile.Read[snapshotRecord](s.path())
	if err == nil {
		err = rec.check()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, sealedfile.ErrDamaged):
		return nil, fmt.Errorf("%w: %w", ErrSnapshotCorrupt, err)
	case err != nil:
		return nil, err
	default:
		s.newest, s.unsealed = &rec, !sealed
	}
	return s, s.sweep()
}

func (s *Snapshots) path() string { return filepath.Join(s.dir, snapshotFile) }

// sweep deletes what a crash has left of snapshots that were being received, or had
// been taken over.
func (s *Snapshots) sweep() error {
	left, err := filepath.Glob(filepath.Join(s.dir, receivingFile))
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

// Newest returns the newest snapshot; ok is false where there is none.
func (s *Snapshots) Newest() (at SnapshotPlace, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil {
		return SnapshotPlace{}, false
	}
	return s.newest.place(), true
}

// Seal gives the newest snapshot a checksum where a version that knew none has written it.
// Until then it is to be checked against log and state.
func (s *Snapshots) Seal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil || !s.unsealed {
		return nil
	}
	return s.write(s.newest)
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
	// It was checked when it came, but may have lain here for long: once it has taken the
	// place of the state there is no other.
	if _, err := verify(filepath.Join(s.dir, receivedFile)); err != nil {
		return false, err
	}
	return true, s.TakeOver()
}

// TakeOver puts the received state in the place of the current one.
func (s *Snapshots) TakeOver() error {
	s.mu.Lock()
	rec := s.newest
	s.mu.Unlock()
	if rec == nil || !rec.Received {
		return errors.New("no state was received")
	}
	if err := s.state.Install(filepath.Join(s.dir, receivedFile)); err != nil {
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
	// Where it was taken over it is not there any more.
	err := os.Remove(filepath.Join(s.dir, receivedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// write makes rec the newest snapshot. s.mu is held.
func (s *Snapshots) write(rec *snapshotRecord) error {
	if err := sealedfile.Write(s.path(), *rec); err != nil {
		return err
	}
	s.newest, s.unsealed = rec, false
	return nil
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

// Open implements raft.SnapshotStore: the live file is streamed, with the index that it
// has. Raft opens a snapshot that was received only to have it taken over, for which
// TakeOver needs no bytes.
func (s *Snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	rec := s.newest
	s.mu.Unlock()
	if rec == nil || rec.ID != id {
		return nil, nil, fmt.Errorf("there is no snapshot %s", id)
	}
	if rec.Received {
		return rec.meta(), untaken{}, nil
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

// untaken is the content of a snapshot that was received and not yet taken over.
type untaken struct{}

// Read fails: what is about to become the state is changed in its place.
func (untaken) Read([]byte) (int, error) {
	return 0, errors.New("the received state is not taken over yet")
}

// Close does nothing.
func (untaken) Close() error { return nil }

// Create implements raft.SnapshotStore.
func (s *Snapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	return &sink{
		store: s,
		rec: snapshotRecord{
			Version: version, ID: snapshotID(index, term), Index: index, Term: term,
			Configuration: raft.EncodeConfiguration(configuration), ConfigurationIndex: configurationIndex,
		},
	}, nil
}
