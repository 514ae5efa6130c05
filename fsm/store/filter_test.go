package store

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// A filter that is full reports every key as possibly known, so Apply reads from the disk for each.
func TestAFullFilterOfKeysIsMadeAnew(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	db := b.s.pair.Load().db
	small := &keyFilter{bits: make([]atomic.Uint64, 16)}
	db.keys.current.Store(small)
	const keys = 2000
	for i := range keys {
		b.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: 1}, Key: fmt.Sprint("used ", i), Hash: []byte("h")}, &task.Spec{Handler: "h"})
		if i%20 == 0 { // some are written while it is made
			require.NoError(t, b.s.Flush())
		}
	}
	require.NoError(t, b.s.Flush())
	require.Eventually(t, func() bool { return db.keys.current.Load() != small && db.keys.next.Load() == nil }, time.Minute, time.Millisecond)
	wrong := 0
	for i := range keys {
		require.True(t, db.keys.mayHave(fmt.Append(nil, "\x00used ", i)) || db.keys.mayHave(fmt.Append(nil, "default\x00used ", i)), i)
		if db.keys.mayHave(fmt.Append(nil, "default\x00new ", i)) {
			wrong++
		}
	}
	require.Less(t, wrong, keys/20)
	_, ok := db.Key("default", "used 0")
	_, other := db.Key("", "used 0")
	require.True(t, ok || other)
}

// A filter that could not be built is not built again at each flush, because that reads all keys.
func TestAFilterThatCannotBeMadeIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	db := b.s.pair.Load().db
	found := 0
	b.s.OnCorrupt(func(error) { found++ })
	submit := func(key string) {
		b.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: 1}, Key: key, Hash: []byte("h")}, &task.Spec{Handler: "h"})
		require.NoError(t, b.s.Flush())
		b.s.closing.Wait()
	}
	submit("a")
	require.NoError(t, db.bolt.Update(func(tx *bolt.Tx) error { return tx.Bucket(keysBucket).Put([]byte("damaged"), []byte("no seal")) }))
	db.keys.current.Store(&keyFilter{bits: make([]atomic.Uint64, 1)})
	for i := range 30 {
		submit(fmt.Sprint(i))
	}
	require.True(t, db.keys.current.Load().full())
	require.Equal(t, 1, found)
}
