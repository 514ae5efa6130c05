package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
)

// guard runs f and returns as ErrCorrupt what damage makes bbolt panic on, and faults
// behind the end of a file that was cut short.
func guard(f func() error) error { return guardAs(ErrCorrupt, f) }

// guardAs is guard with another error for what is damaged.
func guardAs(corrupt error, f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", corrupt, p)
		}
	}()
	return f()
}

// verify looks at a file before bbolt opens it for writing, and returns its meta record.
// Large values are checked when they are read.
func verify(path string) (*logpb.Meta, error) {
	meta, _, err := verifyWith(path, false)
	return meta, err
}

// verifyWith is verify, and makes the filter of the request keys on the way where that is
// wanted: the file may be larger than memory, and each walk over it reads all of it.
func verifyWith(path string, filter bool) (meta *logpb.Meta, keys *keyFilter, err error) {
	meta = &logpb.Meta{}
	err = inspect(path, ErrCorrupt, func(tx *bolt.Tx) error {
		if err := getMeta(tx, meta); err != nil {
			return err
		}
		if err := checkFormat(path, meta); err != nil {
			return err
		}
		buckets := bucketsOf(meta.Format)
		if err := checkNames(tx, buckets); err != nil {
			return err
		}
		if filter {
			keys = newKeyFilter(keysIn(tx))
		}
		counts, err := walk(tx, ErrCorrupt, buckets, checkValue(keys))
		if err != nil {
			return err
		}
		if err := checkCounts(tx, buckets, counts); err != nil || tx.Bucket(specsBucket) == nil {
			return err
		}
		return checkSpecs(tx)
	})
	return meta, keys, err
}

// checkNames checks that there are the buckets that there should be and no others: bbolt
// follows what is there.
func checkNames(tx *bolt.Tx, buckets [][]byte) error {
	n := 0
	err := tx.ForEach(func(name []byte, _ *bolt.Bucket) error {
		n++
		if !slices.ContainsFunc(buckets, func(b []byte) bool { return bytes.Equal(b, name) }) {
			return fmt.Errorf("%w: there is a bucket %x", ErrCorrupt, name)
		}
		return nil
	})
	if err == nil && n != len(buckets) {
		err = fmt.Errorf("%w: there are %d buckets of %d", ErrCorrupt, n, len(buckets))
	}
	return err
}

// smallValue is up to which size a value stands on the page of its key, or nearly so, and
// is checked when the file is opened, bytes. Larger ones are checked when they are read.
const smallValue = 4 << 10

// checkValue returns what checks each key and its value: that they stand under their own name,
// so that no moment was put into the far future, where nobody would look. Request keys are added
// to a filter, unless that is nil.
func checkValue(keys *keyFilter) func(bucket, k, v []byte) error {
	return func(bucket, k, v []byte) error {
		if keys != nil && bytes.Equal(bucket, keysBucket) {
			keys.add(k)
		}
		if len(v) > smallValue {
			return nil
		}
		_, err := unseal(bucket, k, v)
		return err
	}
}

// checkCounts checks that every key is there that was written: one that damage hides would be
// taken for something that never was.
func checkCounts(tx *bolt.Tx, buckets [][]byte, counts []uint64) error {
	for i, name := range buckets {
		if counted := tx.Bucket(name).Sequence(); counted > 0 && counts[i] != counted-1 {
			return fmt.Errorf("%w: bucket %s has %d keys of %d", ErrCorrupt, name, counts[i], counted-1)
		}
	}
	return nil
}

// CheckFile looks at any file of bbolt's before it is opened for writing: there bbolt walks
// all pages in a goroutine of its own, and damage would end the process without a word. It
// checks that the file is whole, that its pages lead to each other, and that keys are in
// order. Damage is told as the error corrupt.
func CheckFile(path string, corrupt error) error {
	return inspect(path, corrupt, func(tx *bolt.Tx) error {
		var names [][]byte
		err := tx.ForEach(func(name []byte, _ *bolt.Bucket) error {
			names = append(names, bytes.Clone(name))
			return nil
		})
		if err != nil {
			return err
		}
		_, err = walk(tx, corrupt, names, func(_, _, _ []byte) error { return nil })
		return err
	})
}

// inspect runs look on a file that is opened for reading only.
func inspect(path string, corrupt error, look func(*bolt.Tx) error) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	if info.Size() == 0 {
		// bbolt would make a new database of it.
		return fmt.Errorf("%w: %s is empty", corrupt, path)
	}
	return guardAs(corrupt, func() error {
		b, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, ReadOnly: true})
		if err != nil {
			return openError(path, corrupt, err)
		}
		// The transaction ends also where the walk panics: View sees to it.
		return errors.Join(guardAs(corrupt, func() error {
			return b.View(func(tx *bolt.Tx) error {
				if tx.Size() > info.Size() {
					return fmt.Errorf("%w: %s has %d bytes of %d", corrupt, path, info.Size(), tx.Size())
				}
				if err := checkPages(tx, path, corrupt); err != nil {
					return err
				}
				return look(tx)
			})
		}), b.Close())
	})
}

// walk goes over all keys of some buckets, in their order, calls each, and returns how many
// there are.
func walk(tx *bolt.Tx, corrupt error, buckets [][]byte, each func(bucket, k, v []byte) error) ([]uint64, error) {
	counts := make([]uint64, len(buckets))
	for i, name := range buckets {
		var last []byte
		err := tx.Bucket(name).ForEach(func(k, v []byte) error {
			if v == nil { // what bbolt takes for a bucket within; there are none
				return fmt.Errorf("%w: key %x of bucket %s has no value", corrupt, k, name)
			}
			if last != nil && bytes.Compare(last, k) >= 0 {
				return fmt.Errorf("%w: key %x of bucket %s is out of order", corrupt, k, name)
			}
			last = k
			counts[i]++
			return each(name, k, v)
		})
		if err != nil {
			return nil, err
		}
	}
	return counts, nil
}

// openError says what is wrong with a file that bbolt does not open.
func openError(path string, corrupt, err error) error {
	var notRead *fs.PathError
	var system syscall.Errno
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("%s is in use by another process: stop that one first", path)
	case errors.As(err, &notRead), errors.As(err, &system):
		return fmt.Errorf("open %s: %w", path, err)
	default:
		return fmt.Errorf("%w: %s: %w", corrupt, path, err)
	}
}

// getMeta reads the meta record, and checks that the file has all buckets.
func getMeta(tx *bolt.Tx, meta *logpb.Meta) error {
	if tx.Bucket(metaBucket) == nil {
		return fmt.Errorf("%w: there is no bucket %s", ErrCorrupt, metaBucket)
	}
	ok, err := getProto(tx, metaBucket, metaKey, meta)
	switch {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("%w: there is no meta record", ErrCorrupt)
	}
	for _, name := range bucketsOf(meta.Format) {
		if tx.Bucket(name) == nil {
			return fmt.Errorf("%w: there is no bucket %s", ErrCorrupt, name)
		}
	}
	return nil
}

// checkFormat says whether this build can read the file.
func checkFormat(path string, meta *logpb.Meta) error {
	if meta.Format < oldestFormat || meta.Format > format {
		return fmt.Errorf("%s has format %d, this build knows formats %d to %d: use the version of rota that wrote it", path, meta.Format, oldestFormat, format)
	}
	if err := fsm.CheckVersion(meta.Version); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
