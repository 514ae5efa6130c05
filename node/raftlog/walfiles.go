package raftlog

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/types"
)

// walFiles is the file system as raft-wal uses it, which gives back what a file of the log
// took and does not need.
//
// raft-wal takes all the space of a file when it makes it. Where the end of the log is deleted,
// it closes the file that it writes and makes another one, so that each leader that is deposed
// with entries of its own would leave tens of megabytes for a handful of entries.
type walFiles struct {
	walfs.FS

	mu sync.Mutex
	// newest is the file that is written, before is the one that was made before it. Older
	// ones are full.
	newest, before *walFile
}

// walFile is a file of the log, and how far it was written since it was opened.
type walFile struct {
	types.WritableFile
	path string

	mu  sync.Mutex
	end int64
}

// Create implements types.VFS. A file that found no space is removed: raft-wal makes it again
// under the same name, and takes none for its own that is there already.
func (w *walFiles) Create(dir, name string, size uint64) (types.WritableFile, error) {
	f, err := w.FS.Create(dir, name, size)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		if left := os.Remove(filepath.Join(dir, name)); left != nil && !errors.Is(left, fs.ErrNotExist) {
			err = errors.Join(err, left)
		}
	}
	return w.noted(f, err, dir, name)
}

// OpenWriter implements types.VFS.
func (w *walFiles) OpenWriter(dir, name string) (types.WritableFile, error) {
	f, err := w.FS.OpenWriter(dir, name)
	return w.noted(f, err, dir, name)
}

func (w *walFiles) noted(f types.WritableFile, err error, dir, name string) (types.WritableFile, error) {
	if err != nil {
		return nil, err
	}
	file := &walFile{WritableFile: f, path: filepath.Join(dir, name)}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.before, w.newest = w.newest, file
	return file, nil
}

// trim cuts the file before the newest one where it ends. The newest one must have been made
// because that one was closed: the last thing that is written to a file is its index.
func (w *walFiles) trim() error {
	w.mu.Lock()
	file := w.before
	w.mu.Unlock()
	if file == nil {
		return nil
	}
	file.mu.Lock()
	defer file.mu.Unlock()
	if file.end == 0 {
		return nil // it was closed before it was opened
	}
	if err := os.Truncate(file.path, file.end); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// WriteAt implements io.WriterAt.
func (f *walFile) WriteAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.WritableFile.WriteAt(p, off)
	f.end = max(f.end, off+int64(n))
	return n, err
}
