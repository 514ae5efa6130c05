package raftlog

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/segment"
	"golang.org/x/sys/unix"
)

// SegmentBytes is the size of a file of the log, all of which is taken when it is made:
// appending to it needs no space.
const SegmentBytes = 64 << 20

// segments is a raft-wal with what raft, and a disk that may be full, need beyond it.
//
// It starts anew where raft goes on behind a received snapshot: raft leaves a gap there,
// which files that are only appended to cannot have. They could say so
// (raft.MonotonicLogStore), but then raft deletes the whole log with each snapshot that
// it receives, also entries behind it, which this server may have acknowledged.
//
// Where there is no space for the next file, raft-wal takes no more entries until it is
// opened again. That is done here, once there is space.
type segments struct {
	dir string
	log *slog.Logger
	// ownLog takes what raft-wal says.
	ownLog hclog.Logger
	// size is that of a file, bytes.
	size int64

	// lost is told that the log was closed and could not be opened again; nil: nobody is.
	lost func(error)

	// mu is held for writing while the log is opened again.
	mu    sync.RWMutex
	file  *wal.WAL
	files *walFiles
	meta  *checkedMeta
}

func openWAL(path string, cfg Config) (file, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	if err := removeRoom(path); err != nil {
		return nil, err
	}
	s := &segments{dir: path, log: cfg.Logger, ownLog: cfg.WALLogger, size: SegmentBytes, lost: cfg.Fatal}
	if err := s.open(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *segments) open() error {
	files, meta := &walFiles{}, &checkedMeta{}
	file, err := wal.Open(s.dir, wal.WithLogger(s.ownLog), wal.WithSegmentSize(int(s.size)),
		wal.WithMetaStore(meta), wal.WithSegmentFiler(segment.NewFiler(s.dir, files)))
	if err != nil {
		return err
	}
	s.file, s.files, s.meta = file, files, meta
	return nil
}

// reopen opens the log again, unless there is no space for its next file.
func (s *segments) reopen() error {
	if err := roomFor(s.dir, s.size); err != nil {
		return fmt.Errorf("make the next file of the log: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.file.Close()
	if err == nil {
		err = s.open()
	}
	if err == nil {
		return nil
	}
	// Raft panics where it cannot read an entry, so this server ends before anybody gets at the lock.
	err = errClosed(err)
	if s.lost != nil {
		s.lost(err)
	}
	return err
}

// errClosed says that the log was closed and could not be opened again. It keeps the cause for people only:
// a want of space or of descriptors would be waited for, and there is no log any more.
func errClosed(cause error) error {
	return fmt.Errorf("the log was closed to go on in another file, and could not be opened again: %v; start the server again", cause) //nolint:errorlint // See above.
}

// roomFor tries to take so many bytes on the disk of a folder, and gives them back.
func roomFor(dir string, bytes int64) error {
	f, err := os.CreateTemp(dir, "room-")
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, bytes)
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = nil
	}
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}

// removeRoom removes what a crash has left of roomFor.
func removeRoom(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, "room-*"))
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// StoreLog implements raft.LogStore.
func (s *segments) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore. What is before a gap is in the snapshot.
func (s *segments) StoreLogs(logs []*raft.Log) error {
	last, err := s.LastIndex()
	if err != nil {
		return err
	}
	if last > 0 && len(logs) > 0 && logs[0].Index > last+1 {
		if err := s.DeleteRange(1, last); err != nil {
			return err
		}
	}
	if err = s.append(logs); errors.Is(err, wal.ErrSealed) {
		if err = s.reopen(); err == nil {
			err = s.append(logs)
		}
	}
	return err
}

func (s *segments) append(logs []*raft.Log) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.file.StoreLogs(logs)
}

// GetLog implements raft.LogStore. What was deleted is gone, though its file is still there.
func (s *segments) GetLog(index uint64, l *raft.Log) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	first, err := s.file.FirstIndex()
	switch {
	case err != nil:
		return err
	case index < first:
		return raft.ErrLogNotFound
	}
	return s.file.GetLog(index, l)
}

// FirstIndex implements raft.LogStore.
func (s *segments) FirstIndex() (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.file.FirstIndex()
}

// LastIndex implements raft.LogStore.
func (s *segments) LastIndex() (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.file.LastIndex()
}

// DeleteRange implements raft.LogStore. Where the end of the log is deleted, another file is begun. raft-wal
// notes on disk that the end is gone before it makes that file: without space for it, the log on disk would
// be another one than the one that raft goes on with.
func (s *segments) DeleteRange(first, last uint64) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	end, err := s.file.LastIndex()
	if err != nil {
		return err
	}
	toEnd := first <= end && end <= last
	if toEnd {
		if err := roomFor(s.dir, s.size); err != nil {
			return fmt.Errorf("make the next file of the log: %w", err)
		}
	}
	if err := s.file.DeleteRange(first, last); err != nil {
		return err
	}
	// Raft deletes the end of the log between two appends: nobody else makes a file meanwhile.
	if toEnd {
		if err := s.files.trim(); err != nil {
			s.log.Warn("a file of the log keeps space that it does not need", "error", err)
		}
	}
	return nil
}

// begins are the indexes at which the files of the log begin, in their order.
func (s *segments) begins() []uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.meta.begins()
}

// IsMonotonic implements raft.MonotonicLogStore.
func (s *segments) IsMonotonic() bool { return false }

// Set implements raft.StableStore.
func (s *segments) Set(key, value []byte) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.file.Set(key, value)
}

// Get implements raft.StableStore.
func (s *segments) Get(key []byte) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.file.Get(key)
}

// SetUint64 implements raft.StableStore.
func (s *segments) SetUint64(key []byte, value uint64) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.file.SetUint64(key, value)
}

// GetUint64 implements raft.StableStore.
func (s *segments) GetUint64(key []byte) (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.file.GetUint64(key)
}

// Close implements io.Closer.
func (s *segments) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file.Close()
}
