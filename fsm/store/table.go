package store

import (
	"bytes"

	bolt "go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"
)

// table is a bucket of a write transaction that gets many keys. bbolt looks for each key from the root
// on, so what is known to be new is not looked for before it is put: of a job that begins
// and ends between two flushes, that is everything. Nobody else puts anything into the bucket meanwhile.
type table struct {
	bucket *bolt.Bucket
	name   []byte
	// last: no key of the bucket is beyond it. Keys that come in their order are new.
	last []byte
	// more is by how much the number of keys has grown.
	more int
}

func openTable(tx *bolt.Tx, name []byte) *table {
	b := tx.Bucket(name)
	last, _ := b.Cursor().Last()
	return &table{bucket: b, name: name, last: bytes.Clone(last)}
}

// put writes a value. It takes the value's spare capacity for the checksum.
func (t *table) put(key, value []byte) error {
	if bytes.Compare(key, t.last) > 0 || t.bucket.Get(key) == nil {
		return t.add(key, value)
	}
	return t.bucket.Put(key, seal(key, value))
}

// add is put for a key that is not there.
func (t *table) add(key, value []byte) error {
	if bytes.Compare(key, t.last) > 0 {
		t.last = key
	}
	t.more++
	return t.bucket.Put(key, seal(key, value))
}

func (t *table) putProto(key []byte, m proto.Message) error {
	value, err := encode(m)
	if err != nil {
		return err
	}
	return t.put(key, value)
}

// remove deletes a value, if there is one.
func (t *table) remove(key []byte) error {
	if t.bucket.Get(key) == nil {
		return nil
	}
	t.more--
	return t.bucket.Delete(key)
}

// getProto reads a message; ok is false where there is none.
func (t *table) getProto(key []byte, m proto.Message) (ok bool, err error) {
	sealed := t.bucket.Get(key)
	if sealed == nil {
		return false, nil
	}
	value, err := unseal(t.name, key, sealed)
	if err != nil {
		return false, err
	}
	return true, decode(t.name, key, value, m)
}

// count brings the number of the bucket's keys up to date, when all is done.
func (t *table) count() error { return counted(t.bucket, t.more) }
