package store

import (
	"cmp"
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
			Version: version, ID: fmt.Sprintf("%d-%d", term, index), Index: index, Term: term,
			Configuration: raft.EncodeConfiguration(configuration), ConfigurationIndex: configurationIndex,
		},
	}, nil
}

// sink takes a snapshot: a promise about state.db from Persist, or, from a leader, bytes.
type sink struct {
	store *Snapshots
	rec   snapshotRecord
	// content is where bytes go, received what becomes of them; nil without any.
	content  *io.PipeWriter
	received chan received
	// promised: it needs no content.
	promised bool
	done     bool
}

// received is a state that has come, checked and durable, or why it has not.
type received struct {
	path  string
	index uint64
	err   error
}

// ID implements raft.SnapshotSink.
func (k *sink) ID() string { return k.rec.ID }

// Write implements raft.SnapshotSink, for content that comes from a leader.
func (k *sink) Write(p []byte) (int, error) {
	if k.content == nil {
		k.receive()
	}
	n, err := k.content.Write(p)
	k.rec.Size += int64(n)
	return n, err
}

// receive writes what comes as the file that it will be.
func (k *sink) receive() {
	r, w := io.Pipe()
	k.content, k.received = w, make(chan received, 1)
	go func() {
		path, meta, err := Receive(k.store.dir, r)
		// Nobody reads what may still be written.
		_ = r.CloseWithError(cmp.Or(err, errors.New("more has come than the whole state")))
		k.received <- received{path, meta.GetAppliedIndex(), err}
	}()
}

// Promise says that state.db has reached index, and that this is all there is to
// write.
func (k *sink) Promise(index uint64) { k.rec.StateIndex, k.promised = index, true }

// Close implements raft.SnapshotSink: the snapshot is there once it returns nil, and can
// be taken over.
func (k *sink) Close() error {
	if k.done {
		return nil
	}
	k.done = true
	if k.content == nil && !k.promised {
		return fmt.Errorf("snapshot %s has no content", k.rec.ID)
	}
	if k.content != nil {
		if err := k.keepReceived(); err != nil {
			return err
		}
	}
	k.store.mu.Lock()
	defer k.store.mu.Unlock()
	return k.store.write(&k.rec)
}

// keepReceived moves what was received into place.
func (k *sink) keepReceived() error {
	got := k.end()
	if got.err != nil {
		return got.err
	}
	k.rec.Received, k.rec.StateIndex = true, got.index
	if err := replace(got.path, filepath.Join(k.store.dir, receivedFile)); err != nil {
		return errors.Join(err, os.Remove(got.path))
	}
	return nil
}

// end says that no more content comes, and waits for what has become of it.
func (k *sink) end() received {
	_ = k.content.Close() // of a pipe: it cannot fail
	return <-k.received
}

// Cancel implements raft.SnapshotSink.
func (k *sink) Cancel() error {
	if k.done {
		return nil
	}
	k.done = true
	if k.content == nil {
		return nil
	}
	if got := k.end(); got.err == nil {
		return os.Remove(got.path)
	}
	return nil
}

// Promiser is implemented by the sinks of Snapshots.
type Promiser interface {
	// Promise says that state.db has reached index.
	Promise(index uint64)
}
