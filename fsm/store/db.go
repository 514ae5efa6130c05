package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/atomicfile"
)

// FileName is the name of the state's file in a server's data folder.
const FileName = "state.db"

// Identity is whose file it is.
type Identity struct {
	NodeID   string
	ServerID string
}

// DB is an open state.db.
type DB struct {
	bolt *bolt.DB
	path string
	id   Identity
	keys keyFilters
	// size is that of the file as of the last write, bytes: who sends the file asks from within a
	// transaction.
	size atomic.Int64
	// leaving says that there is something left of jobs that were forgotten.
	leaving atomic.Bool
	// leaveAtOnce is how many records of those leave with a flush; 0: leavingRecords.
	leaveAtOnce int
}

func boltOptions() *bolt.Options {
	return &bolt.Options{
		Timeout:         time.Second,
		NoFreelistSync:  true,
		FreelistType:    bolt.FreelistMapType,
		InitialMmapSize: addressSpace(),
	}
}

// Open opens the file in dir, or makes an empty one. It refuses a file of another
// node or another format; errors.Is(err, ErrCorrupt) says that it cannot be read.
func Open(dir string, id Identity) (*DB, error) {
	path := filepath.Join(dir, FileName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := create(path, id); err != nil {
			return nil, fmt.Errorf("make %s: %w", path, err)
		}
	}
	return openFile(path, id)
}

// create makes an empty file under another name first: a power loss while it is
// made must not leave half a file under the real one.
func create(path string, id Identity) error {
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	b, err := bolt.Open(tmp, 0o600, &bolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return err
	}
	err = b.Update(func(tx *bolt.Tx) error {
		if err := makeBuckets(tx); err != nil {
			return err
		}
		return putProto(tx, metaBucket, metaKey, &logpb.Meta{
			Format: format, NodeId: id.NodeID, ServerId: id.ServerID, NextJob: 1, NextToken: 1, NextSession: 1,
			Digest: emptyDigest(),
		})
	})
	if err = errors.Join(err, b.Close()); err != nil {
		return err
	}
	return atomicfile.Rename(tmp, path)
}

func emptyDigest() uint64 {
	_, digest := fsm.New(nil, nil).Digest()
	return digest
}

func openFile(path string, id Identity) (*DB, error) {
	meta, keys, err := verifyWith(path, true)
	if err != nil {
		return nil, err
	}
	if meta.NodeId != id.NodeID || meta.ServerId != id.ServerID {
		return nil, fmt.Errorf("%s belongs to node %s (server %s), not to %s (server %s): it was copied here; give the server its own data folder", path, meta.NodeId, meta.ServerId, id.NodeID, id.ServerID)
	}
	db := &DB{path: path, id: id}
	db.keys.current.Store(keys)
	err = guard(func() (err error) {
		if db.bolt, err = openReserved(path); err != nil {
			return openError(path, ErrCorrupt, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(db.upgrade(meta.Format), db.countKeys(), db.measure(), db.seeLeaving()); err != nil {
		return nil, errors.Join(err, db.bolt.Close())
	}
	return db, nil
}

// upgrade makes a file of an older format one that can be written.
func (db *DB) upgrade(from uint32) error {
	if from == format {
		return nil
	}
	return transact(db.bolt.Update, func(tx *bolt.Tx) error {
		if err := makeBuckets(tx); err != nil {
			return err
		}
		meta := &logpb.Meta{}
		if err := getMeta(tx, meta); err != nil {
			return err
		}
		meta.Format = format
		return putProto(tx, metaBucket, metaKey, meta)
	})
}

// makeBuckets makes the buckets that are missing.
func makeBuckets(tx *bolt.Tx) error {
	for _, name := range allBuckets {
		if tx.Bucket(name) != nil {
			continue
		}
		b, err := tx.CreateBucket(name)
		if err != nil {
			return err
		}
		if err := b.SetSequence(1); err != nil { // see counted
			return err
		}
	}
	return nil
}

// countKeys counts the keys of a file that was made before they were.
func (db *DB) countKeys() error {
	var missing [][]byte
	err := db.view(func(tx *bolt.Tx) error {
		for _, name := range allBuckets {
			if tx.Bucket(name).Sequence() == 0 {
				missing = append(missing, name)
			}
		}
		return nil
	})
	if err != nil || len(missing) == 0 {
		return err
	}
	return transact(db.bolt.Update, func(tx *bolt.Tx) error {
		for _, name := range missing {
			n := uint64(1)
			b := tx.Bucket(name)
			if err := b.ForEach(func(_, _ []byte) error { n++; return nil }); err != nil {
				return err
			}
			if err := b.SetSequence(n); err != nil {
				return err
			}
		}
		return nil
	})
}

// Meta reads the file's meta record.
func (db *DB) Meta() (*logpb.Meta, error) {
	meta := &logpb.Meta{}
	err := db.view(func(tx *bolt.Tx) error { return getMeta(tx, meta) })
	return meta, err
}

// view runs f in a read transaction. Damage that bbolt panics on is an error.
func (db *DB) view(f func(tx *bolt.Tx) error) error {
	return guard(func() error { return transact(db.bolt.View, f) })
}

// transact runs f in a transaction, in which nobody may wait for the machine, nor for another
// transaction (see fsm.InTransaction).
func transact(begin func(func(*bolt.Tx) error) error, f func(tx *bolt.Tx) error) error {
	fsm.OpensTransaction()
	return begin(func(tx *bolt.Tx) error { return fsm.InTransaction(func() error { return f(tx) }) })
}

// Load makes the machine that the file holds.
func (db *DB) Load(watchers *fsm.Watchers) (*fsm.Machine, error) {
	m := fsm.New(db, watchers)
	meta, err := db.Meta()
	if err != nil {
		return nil, err
	}
	var sessions []*logpb.Session
	err = db.view(func(tx *bolt.Tx) error {
		return tx.Bucket(sessionsBucket).ForEach(func(k, v []byte) error {
			value, err := unseal(sessionsBucket, k, v)
			if err != nil {
				return err
			}
			s := &logpb.Session{}
			sessions = append(sessions, s)
			return decode(sessionsBucket, k, value, s)
		})
	})
	var access []*logpb.AccessToken
	if err == nil {
		access, err = db.accessTokens()
	}
	if err == nil {
		err = m.Load(meta, sessions, access, db.eachOpenJob)
	}
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", db.path, err)
	}
	// What bbolt does not find because a page is damaged has no checksum that fails.
	if wrong := m.CheckInvariants(); len(wrong) > 0 {
		return nil, fmt.Errorf("load %s: %w: %s", db.path, ErrCorrupt, strings.Join(wrong, "; "))
	}
	return m, nil
}

// eachOpenJob calls yield with each job that has not ended, with the machine locked.
func (db *DB) eachOpenJob(yield func(*fsm.SavedJob) error) error {
	return db.view(func(tx *bolt.Tx) error {
		return tx.Bucket(openBucket).ForEach(func(k, v []byte) error {
			if _, err := unseal(openBucket, k, v); err != nil {
				return err
			}
			saved, err := loadJob(tx, k)
			if err != nil {
				return err
			}
			return yield(saved)
		})
	})
}

func loadJob(tx *bolt.Tx, id []byte) (*fsm.SavedJob, error) {
	saved := &fsm.SavedJob{Record: &logpb.JobRecord{}, Live: map[uint32][]byte{}}
	ok, err := getProto(tx, jobsBucket, id, saved.Record)
	saved.Spec = func() ([]byte, error) { return getSpec(tx, saved.Record) }
	if err == nil && (!ok || saved.Record.FinishedNs != 0) {
		err = fmt.Errorf("%w: unfinished job %x has no record, or one of its end", ErrCorrupt, id)
	}
	if err != nil {
		return nil, err
	}
	saved.Index = func(yield func(uint32, []byte) error) error {
		return eachOf(tx, indexBucket, id, func(n uint32, value []byte) error { return yield(n, unpackIndex(value)) })
	}
	err = eachOf(tx, liveBucket, id, func(n uint32, value []byte) error {
		saved.Live[n] = bytes.Clone(value)
		return nil
	})
	return saved, err
}

// Close waits for open transactions and closes the file.
func (db *DB) Close() error { return db.bolt.Close() }

// Size is the size of the file, bytes.
func (db *DB) Size() int64 { return db.size.Load() }

// measure finds it out anew.
func (db *DB) measure() error {
	return db.view(func(tx *bolt.Tx) error { db.size.Store(tx.Size()); return nil })
}

// Used is the size of the file but for its free pages, bytes.
func (db *DB) Used() int64 {
	stats := db.bolt.Stats()
	return db.Size() - int64(stats.FreePageN+stats.PendingPageN)*int64(os.Getpagesize())
}
