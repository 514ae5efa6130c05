package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
)

// suffix is what the name of a file has while it is written. What a crash leaves under that name is
// overwritten by the next write.
const suffix = ".new"

// Write replaces a file, which only this user may read.
func Write(path string, data []byte) error {
	next := path + suffix
	err := write(next, data)
	if err == nil {
		err = Rename(next, path)
	}
	if err != nil {
		// A full disk needs the space. The first error says what is wrong.
		_ = os.Remove(next)
	}
	return err
}

// Create makes a file, which only this user may read. It fails with fs.ErrExist if there is one, and leaves that as it is.
func Create(path string, data []byte) error {
	next := path + suffix
	err := write(next, data)
	if err == nil {
		// A rename would replace what is there.
		err = os.Link(next, path)
	}
	_ = os.Remove(next)
	if err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(path))
}

func write(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// Rename moves a file that is synced into the place of another one, or of none, in the same file system.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(to))
}

// SyncFolder makes durable which files a folder has.
func SyncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
