package store

import (
	"hash/crc32"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/task"
)

// keyFilter says of most request keys that were never used that they were not, so
// that Apply need not look for them on disk. It only ever saves a look-up: what it
// says does not change an answer. About 1 % of its guesses are wrong when it is full.
type keyFilter struct {
	bits []atomic.Uint64
	// added counts the keys in it; those that were forgotten on disk stay.
	added atomic.Int64
}

const (
	// leastFilterWords is the size of the smallest: 8 MiB, for 6 million keys.
	leastFilterWords = 1 << 20
	filterProbes     = 5
	// bitsPerKey is how much room a key takes.
	bitsPerKey = 10
)

// newKeyFilter returns one with room for twice as many keys as there are.
func newKeyFilter(keys int64) *keyFilter {
	words := int64(leastFilterWords)
	for words*64 < 2*keys*bitsPerKey {
		words *= 2
	}
	return &keyFilter{bits: make([]atomic.Uint64, words)}
}

// full says that it has more keys than there is room for.
func (f *keyFilter) full() bool { return f.added.Load() > int64(len(f.bits))*64/bitsPerKey }

func (f *keyFilter) hash(id []byte) (h, step uint64) {
	h = task.Mix(uint64(crc32.Checksum(id, castagnoli)), uint64(crc32.ChecksumIEEE(id)), uint64(len(id)))
	return h, h>>33 | 1
}

// add adds a key. isNew is true only where the key was never added before.
func (f *keyFilter) add(id []byte) (isNew bool) {
	f.added.Add(1)
	h, step := f.hash(id)
	for range filterProbes {
		bit := uint64(1) << (h % 64)
		if f.bits[h/64%uint64(len(f.bits))].Or(bit)&bit == 0 {
			isNew = true
		}
		h += step
	}
	return isNew
}

// mayHave is false only where the key was never added.
func (f *keyFilter) mayHave(id []byte) bool {
	h, step := f.hash(id)
	for range filterProbes {
		if f.bits[h/64%uint64(len(f.bits))].Load()&(1<<(h%64)) == 0 {
			return false
		}
		h += step
	}
	return true
}

// keyFilters is the filter of a file, and while that is made anew, because it is full of keys
// of which many are forgotten, the next one.
type keyFilters struct {
	current, next atomic.Pointer[keyFilter]
	// failed: the next one could not be made. A damaged file stays so, and each attempt walks
	// through all keys; a full filter costs look-ups only.
	failed atomic.Bool
}

func (f *keyFilters) mayHave(id []byte) bool { return f.current.Load().mayHave(id) }

// add adds a key that is about to be written. The next filter is asked for first: where it
// takes the place of the current one meanwhile, it is the current one that has the key then.
// isNew is true only where the file does not have the key, nor anything of it.
func (f *keyFilters) add(id []byte) (isNew bool) {
	if next := f.next.Load(); next != nil {
		next.add(id)
	}
	return f.current.Load().add(id)
}

// fillKeyFilter adds all keys on disk.
func (db *DB) fillKeyFilter(f *keyFilter) error {
	return db.view(func(tx *bolt.Tx) error {
		return tx.Bucket(keysBucket).ForEach(func(k, v []byte) error {
			f.add(k)
			// A key that is not the one that was written would be one never used.
			_, err := unseal(keysBucket, k, v)
			return err
		})
	})
}

// keysIn is how many request keys are on disk, as far as they were counted.
func keysIn(tx *bolt.Tx) int64 { return max(1, int64(tx.Bucket(keysBucket).Sequence())) - 1 }

// renewKeyFilter begins to make the filter anew where it is full. No write may be under way:
// its keys would be in neither what is read nor what is added. It returns what is left to do,
// beside everything else; nil: nothing is.
func (db *DB) renewKeyFilter() (rest func() error, err error) {
	if !db.keys.current.Load().full() || db.keys.next.Load() != nil || db.keys.failed.Load() {
		return nil, nil
	}
	n := int64(0)
	if err := db.view(func(tx *bolt.Tx) error { n = keysIn(tx); return nil }); err != nil {
		return nil, err
	}
	next := newKeyFilter(n)
	db.keys.next.Store(next)
	return func() error {
		defer db.keys.next.Store(nil)
		if err := db.fillKeyFilter(next); err != nil {
			db.keys.failed.Store(true)
			return err
		}
		db.keys.current.Store(next)
		return nil
	}, nil
}
