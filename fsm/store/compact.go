package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/internal/atomicfile"
)

const (
	// compactingFile is state.db while it is written anew.
	compactingFile = FileName + ".compacting"
	// compactBatch is how much one transaction writes then, bytes: it is in memory until then.
	compactBatch = 16 << 20
)

// Compact writes the file in dir anew, without its free pages, and returns its sizes before and after, bytes. Nobody may
// have it open. After a crash the old file is there, or the new one.
func Compact(dir string, id Identity) (before, after int64, err error) {
	db, err := Open(dir, id) // which checks all of it, and makes it one of the newest format
	if err != nil {
		return 0, 0, err
	}
	path := filepath.Join(dir, compactingFile)
	defer func() {
		if gone := os.Remove(path); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}()
	info, err := os.Stat(filepath.Join(dir, FileName))
	if err != nil {
		return 0, 0, errors.Join(err, db.Close())
	}
	before = info.Size()
	if free := freeSpace(dir); db.Used() > free-receivedSpare {
		return before, 0, errors.Join(db.Close(), fmt.Errorf("the compact file will have about %d bytes, and the disk of %s has %d left: free some space, or move the folder to a larger disk", db.Used(), dir, free))
	}
	if err := errors.Join(db.compactInto(path), db.Close()); err != nil {
		return before, 0, err
	}
	if _, err := verify(path); err != nil {
		return before, 0, err
	}
	if info, err = os.Stat(path); err != nil {
		return before, 0, err
	}
	return before, info.Size(), atomicfile.Rename(path, filepath.Join(dir, FileName))
}

// compactInto writes all that the file has to another one, and syncs that.
func (db *DB) compactInto(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // what a crash has left
	}
	out, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return err
	}
	// Each transaction syncs; bbolt's Compact keeps the sequences of buckets, which are their counts.
	return errors.Join(guard(func() error { return bolt.Compact(out, db.bolt, compactBatch) }), out.Close())
}
