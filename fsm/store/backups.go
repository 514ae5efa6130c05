package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/atomicfile"
)

// Contents is how many records of a kind a state has.
type Contents struct {
	// Unfinished is among Jobs.
	Jobs, Unfinished, Keys, Sessions uint64
}

// contents counts what a transaction sees. Each bucket has its own count, see counted.
func contents(tx *bolt.Tx) Contents {
	count := func(bucket []byte) uint64 { return max(tx.Bucket(bucket).Sequence(), 1) - 1 }
	return Contents{Jobs: count(jobsBucket), Unfinished: count(openBucket), Keys: count(keysBucket), Sessions: count(sessionsBucket)}
}

// Backup is the state at one index, to be read as Receive takes it.
type Backup struct {
	io.ReadCloser
	// Meta is its meta record: index, digest, and what comes next.
	Meta *logpb.Meta
	Contents
	// Size is how many bytes there are to read.
	Size int64
}

// Backup opens the state as it is on the disk, for a backup. Whoever wants all that was applied flushes before. It must
// be closed.
func (s *State) Backup() (*Backup, error) {
	out, err := s.stream()
	if err != nil {
		return nil, err
	}
	return &Backup{ReadCloser: out, Meta: out.meta, Contents: out.has, Size: out.size}, nil
}

// Put makes a state that was received into dir that of a server, which has no state yet.
func Put(received, dir string, id Identity) error {
	path := filepath.Join(dir, FileName)
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s is there already", path)
	}
	if err := adopt(received, id); err != nil {
		return err
	}
	return atomicfile.Rename(received, path)
}

// Begin makes a snapshot without content the first one, in a folder whose state.db stands exactly there: the log begins
// behind it.
func (s *Snapshots) Begin(at SnapshotPlace, configuration []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest != nil {
		return errors.New("there is a snapshot already")
	}
	rec := &snapshotRecord{
		Version: snapshotVersion, ID: snapshotID(at.Index, at.Term), Index: at.Index, Term: at.Term,
		Configuration: configuration, ConfigurationIndex: at.ConfigurationIndex, StateIndex: at.StateIndex,
	}
	if err := rec.check(); err != nil {
		return err
	}
	return s.write(rec)
}
