package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/rota-scheduler/rota/fsm/logpb"
)

// guard runs f and returns as ErrCorrupt what damage makes bbolt panic on, and faults
// behind the end of a file that was cut short.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrCorrupt, p)
		}
	}()
	return f()
}

// verify looks at a file before bbolt opens it for writing: there it walks all pages
// in a goroutine of its own, and damage would end the process without a word. It
// checks that the file is whole, that its pages lead to each other, that keys are in
// order, and returns its meta record. Values are checked when they are read.
func verify(path string) (*logpb.Meta, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if info.Size() == 0 {
		// bbolt would make a new database of it.
		return nil, fmt.Errorf("%w: %s is empty", ErrCorrupt, path)
	}
	meta := &logpb.Meta{}
	err = guard(func() error {
		b, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, ReadOnly: true})
		if err != nil {
			return openError(path, err)
		}
		// The transaction ends also where the walk panics: View sees to it.
		return errors.Join(guard(func() error {
			return b.View(func(tx *bolt.Tx) error {
				if tx.Size() > info.Size() {
					return fmt.Errorf("%w: %s has %d bytes of %d", ErrCorrupt, path, info.Size(), tx.Size())
				}
				if err := getMeta(tx, meta); err != nil {
					return err
				}
				return walk(tx)
			})
		}), b.Close())
	})
	return meta, err
}

// walk goes over all keys of all buckets.
func walk(tx *bolt.Tx) error {
	for _, name := range allBuckets {
		var last []byte
		err := tx.Bucket(name).ForEach(func(k, v []byte) error {
			if v == nil { // what bbolt takes for a bucket within; there are none
				return fmt.Errorf("%w: key %x of bucket %s has no value", ErrCorrupt, k, name)
			}
			if last != nil && bytes.Compare(last, k) >= 0 {
				return fmt.Errorf("%w: key %x of bucket %s is out of order", ErrCorrupt, k, name)
			}
			last = k
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// openError says what is wrong with a file that bbolt does not open.
func openError(path string, err error) error {
	var notRead *fs.PathError
	var system syscall.Errno
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("%s is in use by another process: stop that one first", path)
	case errors.As(err, &notRead), errors.As(err, &system):
		return fmt.Errorf("open %s: %w", path, err)
	default:
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
	}
}

// getMeta reads the meta record, and checks that the file has all buckets.
func getMeta(tx *bolt.Tx, meta *logpb.Meta) error {
	for _, name := range allBuckets {
		if tx.Bucket(name) == nil {
			return fmt.Errorf("%w: there is no bucket %s", ErrCorrupt, name)
		}
	}
	ok, err := getProto(tx, metaBucket, metaKey, meta)
	if err == nil && !ok {
		return fmt.Errorf("%w: there is no meta record", ErrCorrupt)
	}
	return err
}

// checkFormat says whether this build can read the file.
func checkFormat(path string, meta *logpb.Meta) error {
	if meta.Format != format {
		return fmt.Errorf("%s has format %d, this build knows format %d: use the version of rota that wrote it", path, meta.Format, format)
	}
	return nil
}
