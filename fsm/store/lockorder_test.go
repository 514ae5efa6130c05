package store

import (
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// gated is an observer that blocks an entry while the machine is locked.
type gated struct{ reached, gate chan struct{} }

func (gated) Granted(fsm.Grant)                      {}
func (gated) Stopping(uint64, uint64, uint32, int64) {}
func (gated) Wake()                                  {}
func (g gated) SessionClosed(uint64)                 { close(g.reached); <-g.gate }

// shrinkMap opens the file again with no address space in reserve, so that it must be mapped again when it grows.
// That waits for readers, and new readers wait behind it.
func shrinkMap(t *testing.T, db *DB) {
	t.Helper()
	require.NoError(t, db.bolt.Close())
	options := boltOptions()
	options.InitialMmapSize = 0
	var err error
	db.bolt, err = bolt.Open(db.path, 0o600, options)
	require.NoError(t, err)
}

// mapping reports whether a goroutine maps a file again, or waits to do so.
func mapping() bool {
	stacks := make([]byte, 1<<20)
	return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "bbolt.(*DB).mmap(")
}

// Three parties once waited for each other for ever: a reader that asked the machine from within a transaction, an
// entry that asked the file while the machine was locked, and a flush that had to map the file again.
func TestReadersEntriesAndFlushesDoNotWaitForEachOther(t *testing.T) { //nolint:paralleltest // it looks at all goroutines
	for name, read := range map[string]func(s *State) error{
		"due":    func(s *State) error { _, _, err := s.Due(1<<62, 10); return err },
		"excess": func(s *State) error { _, err := s.Excess(1, 10); return err },
		"list":   func(s *State) error { _, _, _, err := s.JobsBelow(0, 10); return err },
	} {
		t.Run(name, func(t *testing.T) {
			b := newFilled(t)
			db := b.s.pair.Load().db
			shrinkMap(t, db)
			session := b.openSession("another")
			b.submit(&logpb.Submit{Tasks: packed(160, 250<<10)}, &task.Spec{Handler: "h"})
			batch := b.s.Machine().TakeBatch()

			g := gated{make(chan struct{}), make(chan struct{})}
			b.s.Machine().SetObserver(g)
			spec, err := fsm.EncodeSpec(&task.Spec{Handler: "h"})
			require.NoError(t, err)
			data, err := fsm.EncodeEntry(fsm.GateVersion, b.clock, []*logpb.Op{
				{Op: &logpb.Op_CloseSession{CloseSession: &logpb.CloseSession{Id: session}}},
				{Op: &logpb.Op_Submit{Submit: &logpb.Submit{Spec: spec, Tasks: &logpb.Tasks{Count: 1}, Key: "k", Hash: []byte("h")}}},
			})
			require.NoError(t, err)
			m, index := b.s.Machine(), b.s.Machine().AppliedIndex()+1
			done := make(chan error, 3)
			go func() { _, err := m.Apply(index, 1, data); done <- err }()
			<-g.reached
			go func() { done <- read(b.s) }()
			// The reader is in its transaction, or waits outside of it.
			require.Eventually(t, func() bool {
				stacks := make([]byte, 1<<20)
				return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "RWMutex).RLock")
			}, time.Minute, time.Millisecond)
			go func() { done <- db.Write(batch) }()
			require.Eventually(t, func() bool { return mapping() || len(done) > 0 }, time.Minute, time.Millisecond)
			close(g.gate)
			for range cap(done) {
				select {
				case err := <-done:
					require.NoError(t, err)
				case <-time.After(time.Minute):
					t.Fatal("they wait for each other")
				}
			}
			m.Flushed(batch)
		})
	}
}

// A sender that read the file from within its transaction, by opening another one, once waited behind a flush that
// had to map the file again, and the flush waited for the sender.
func TestASenderOfTheStateAndAFlushDoNotWaitForEachOther(t *testing.T) { //nolint:paralleltest // it looks at all goroutines
	b := newFilled(t)
	b.submit(&logpb.Submit{Tasks: packed(100, 100<<10)}, &task.Spec{Handler: "h"})
	require.NoError(t, b.s.Flush())
	shrinkMap(t, b.s.pair.Load().db)
	sent, err := b.s.stream()
	require.NoError(t, err)
	b.submit(&logpb.Submit{Tasks: packed(160, 250<<10)}, &task.Spec{Handler: "h"})
	done := make(chan error, 2)
	go func() { done <- b.s.Flush() }()
	require.Eventually(t, func() bool { return mapping() || len(done) > 0 }, 30*time.Second, time.Millisecond)
	go func() {
		_, err := io.Copy(io.Discard, sent)
		done <- errors.Join(err, sent.Close())
	}()
	for range cap(done) {
		select {
		case err := <-done:
			require.NoError(t, err)
		case <-time.After(30 * time.Second):
			t.Fatal("they wait for each other")
		}
	}
}
