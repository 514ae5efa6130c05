package store

import (
	"bytes"

	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
)

// accessPrefix begins the keys of access tokens; what follows is their hash. They stand beside the meta record: a bucket
// of their own would be a new format, which older builds could not read before there is a token at all.
var accessPrefix = []byte("access/")

func accessKey(hash []byte) []byte { return append(bytes.Clone(accessPrefix), hash...) }

func writeAccess(tx *bolt.Tx, t fsm.BatchAccess) error {
	if t.Record == nil {
		return remove(tx, metaBucket, accessKey(t.Hash))
	}
	return putProto(tx, metaBucket, accessKey(t.Hash), t.Record)
}

// accessTokens reads all of them.
func (db *DB) accessTokens() (tokens []*logpb.AccessToken, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(metaBucket).Cursor()
		for k, v := c.Seek(accessPrefix); bytes.HasPrefix(k, accessPrefix); k, v = c.Next() {
			value, err := unseal(metaBucket, k, v)
			if err != nil {
				return err
			}
			t := &logpb.AccessToken{}
			if err := decode(metaBucket, k, value, t); err != nil {
				return err
			}
			tokens = append(tokens, t)
		}
		return nil
	})
	return tokens, err
}
