package store

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// A table does not look up keys that must be new. If it was wrong about one, the file would count another number of
// keys than it has.
func TestATableCountsTheKeysOfItsBucket(t *testing.T) {
	t.Parallel()
	db := newBundle(t).s.pair.Load().db
	random, has := rand.New(rand.NewPCG(1, 2)), map[uint64]byte{}
	for range 50 {
		require.NoError(t, transact(db.bolt.Update, func(tx *bolt.Tx) error {
			table := openTable(tx, dueBucket)
			for range random.IntN(20) {
				key, value := random.Uint64N(100), byte(random.Uint32())
				switch _, there := has[key]; {
				case random.IntN(3) == 0:
					delete(has, key)
					require.NoError(t, table.remove(key64(key)))
				case !there && random.IntN(2) == 0:
					has[key] = value
					require.NoError(t, table.add(key64(key), []byte{value}))
				default:
					has[key] = value
					require.NoError(t, table.put(key64(key), []byte{value}))
				}
			}
			return table.count()
		}))
		require.NoError(t, db.view(func(tx *bolt.Tx) error {
			require.EqualValues(t, len(has)+1, tx.Bucket(dueBucket).Sequence())
			return tx.Bucket(dueBucket).ForEach(func(k, v []byte) error {
				value, err := unseal(dueBucket, k, v)
				require.NoError(t, err)
				require.Equal(t, []byte{has[uint64(k[7])]}, value)
				return nil
			})
		}))
	}
}

// For a new request key a flush skips some work. It must not skip it for a known key: the old expiry is removed, and
// the key is counted once.
func TestAKeyThatIsWrittenAgainIsOneKey(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	w := b.openSession("w")
	var jobs []uint64
	for i := range 3 {
		jobs = append(jobs, b.submit(&logpb.Submit{Tasks: packed(1, 0), Key: fmt.Sprint("key ", i), Hash: []byte("h")}, &task.Spec{Handler: "h"}))
	}
	require.NoError(t, b.s.Flush())
	for _, job := range jobs {
		b.work(job, 0, 1, 1, w)
	}
	require.NoError(t, b.s.Flush())
	require.NoError(t, b.s.pair.Load().db.view(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{keysBucket, keyDueBucket, jobsBucket, dueBucket} {
			require.EqualValues(t, len(jobs)+1, tx.Bucket(name).Sequence(), "%s", name)
			require.Equal(t, len(jobs), tx.Bucket(name).Stats().KeyN, "%s", name)
		}
		return nil
	}))
}
