package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	bolt "go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"
)

// format is the version of the layout that is written, and oldestFormat of those that can be
// read. Format 1 has a record for each task that is under way, where format 2 has runs. Format 2 has
// the marks of appends, and all specs, in the records of their jobs. Format 3 has no attempts, and format 4
// nothing of jobs that were forgotten.
const (
	format       = 5
	oldestFormat = 1
)

var (
	metaBucket     = []byte("meta")
	jobsBucket     = []byte("jobs")
	openBucket     = []byte("open")
	specsBucket    = []byte("specs")
	specRefsBucket = []byte("specrefs")
	appendsBucket  = []byte("appends")
	attemptsBucket = []byte("attempts")
	payloadsBucket = []byte("payloads")
	liveBucket     = []byte("live")
	resultsBucket  = []byte("results")
	indexBucket    = []byte("index")
	keysBucket     = []byte("keys")
	dueBucket      = []byte("due")
	leavingBucket  = []byte("leaving")
	keyDueBucket   = []byte("keydue")
	sessionsBucket = []byte("sessions")

	allBuckets = [][]byte{metaBucket, jobsBucket, openBucket, specsBucket, specRefsBucket, appendsBucket, attemptsBucket, payloadsBucket, liveBucket, resultsBucket, indexBucket, keysBucket, dueBucket, leavingBucket, keyDueBucket, sessionsBucket}

	metaKey = []byte("meta")
)

// bucketsOf returns the buckets of a file of a format.
func bucketsOf(f uint32) [][]byte {
	var later [][]byte
	if f < 5 {
		later = append(later, leavingBucket)
	}
	if f < 4 {
		later = append(later, attemptsBucket)
	}
	if f < 3 {
		later = append(later, specsBucket, specRefsBucket, appendsBucket)
	}
	return slices.DeleteFunc(slices.Clone(allBuckets), func(name []byte) bool {
		return slices.ContainsFunc(later, func(l []byte) bool { return bytes.Equal(l, name) })
	})
}

// ErrCorrupt says that state.db does not hold what was written to it.
var ErrCorrupt = errors.New("state.db is corrupt")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func key64(a uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 0, 8), a) }

func key6432(a uint64, b uint32) []byte {
	k := binary.BigEndian.AppendUint64(make([]byte, 0, 12), a)
	return binary.BigEndian.AppendUint32(k, b)
}

func key6464(a, b uint64) []byte {
	k := binary.BigEndian.AppendUint64(make([]byte, 0, 16), a)
	return binary.BigEndian.AppendUint64(k, b)
}

// sealBytes is the size of the checksum.
const sealBytes = 4

// seal appends the checksum to a value.
func seal(key, value []byte) []byte {
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
	return binary.BigEndian.AppendUint32(value, sum)
}

// unseal checks a sealed value and returns it without its checksum. It shares
// memory with the transaction.
func unseal(bucket, key, sealed []byte) ([]byte, error) {
	n := len(sealed) - sealBytes
	if n < 0 {
		return nil, fmt.Errorf("%w: %s/%x is too short", ErrCorrupt, bucket, key)
	}
	value := sealed[:n:n]
	if crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value) != binary.BigEndian.Uint32(sealed[n:]) {
		return nil, fmt.Errorf("%w: %s/%x fails its checksum", ErrCorrupt, bucket, key)
	}
	return value, nil
}

// get reads a value; nil where there is none. It shares memory with tx.
func get(tx *bolt.Tx, bucket, key []byte) ([]byte, error) {
	sealed := tx.Bucket(bucket).Get(key)
	if sealed == nil {
		return nil, nil
	}
	return unseal(bucket, key, sealed)
}

// put writes a value. It takes the value's spare capacity for the checksum.
func put(tx *bolt.Tx, bucket, key, value []byte) error {
	b := tx.Bucket(bucket)
	if b.Get(key) == nil {
		if err := counted(b, 1); err != nil {
			return err
		}
	}
	return b.Put(key, seal(key, value))
}

// remove deletes a value, if there is one.
func remove(tx *bolt.Tx, bucket, key []byte) error {
	b := tx.Bucket(bucket)
	if b.Get(key) == nil {
		return nil
	}
	if err := counted(b, -1); err != nil {
		return err
	}
	return b.Delete(key)
}

// counted keeps the number of a bucket's keys, and one, in what bbolt calls its sequence;
// 0: they were never counted. Checksums tell that a value is wrong, but not that damage to
// a page hides one: it would be taken for a job that never was.
func counted(b *bolt.Bucket, change int) error {
	n := b.Sequence()
	if n == 0 {
		return nil
	}
	return b.SetSequence(uint64(int64(n) + int64(change)))
}

// getProto reads a message; ok is false where there is none.
func getProto(tx *bolt.Tx, bucket, key []byte, m proto.Message) (ok bool, err error) {
	value, err := get(tx, bucket, key)
	if value == nil || err != nil {
		return false, err
	}
	return true, decode(bucket, key, value, m)
}

func decode(bucket, key, value []byte, m proto.Message) error {
	if err := proto.Unmarshal(value, m); err != nil {
		return fmt.Errorf("%w: %s/%x: %w", ErrCorrupt, bucket, key, err)
	}
	return nil
}

func putProto(tx *bolt.Tx, bucket, key []byte, m proto.Message) error {
	value, err := encode(m)
	if err != nil {
		return err
	}
	return put(tx, bucket, key, value)
}

// encode returns a message as a value, with spare capacity for the checksum.
func encode(m proto.Message) ([]byte, error) {
	size := proto.Size(m)
	return proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(make([]byte, 0, size+sealBytes), m)
}
