package store

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/internal/atomicfile"
)

// ErrOutdated says that a newer snapshot is there already.
var ErrOutdated = errors.New("a newer snapshot is there already")

// sink takes a snapshot: a promise about state.db from Persist, or, from a leader, bytes.
type sink struct {
	store *Snapshots
	rec   snapshotRecord
	// content is where bytes go, received what becomes of them; nil without any.
	content  *io.PipeWriter
	received chan received
	// promised: it needs no content.
	promised bool
	// done: it was closed or cancelled; written: it was the newest once.
	done, written bool
}

// received is a state that has come, checked and durable, or why it has not.
type received struct {
	path  string
	index uint64
	err   error
}

// ID implements raft.SnapshotSink.
func (k *sink) ID() string { return k.rec.ID }

// Write implements raft.SnapshotSink, for content that comes from a leader.
func (k *sink) Write(p []byte) (int, error) {
	if k.content == nil {
		k.receive()
	}
	n, err := k.content.Write(p)
	k.rec.Size += int64(n)
	return n, err
}

// receive writes what comes as the file that it will be.
func (k *sink) receive() {
	r, w := io.Pipe()
	k.content, k.received = w, make(chan received, 1)
	go func() {
		path, meta, err := Receive(k.store.dir, r)
		// Nobody reads what may still be written.
		_ = r.CloseWithError(cmp.Or(err, errors.New("more has come than the whole state")))
		k.received <- received{path, meta.GetAppliedIndex(), err}
	}()
}

// Promise says that state.db has reached index, and that this is all there is to
// write.
func (k *sink) Promise(index uint64) { k.rec.StateIndex, k.promised = index, true }

// Close implements raft.SnapshotSink: the snapshot is there once it returns nil, and can
// be taken over. Raft closes what Persist has closed once more, and believes that one.
func (k *sink) Close() error {
	if k.done {
		return k.still()
	}
	k.done = true
	var got received
	switch {
	case k.content != nil:
		if got = k.end(); got.err != nil {
			if errors.Is(got.err, fsm.ErrTooOld) {
				k.store.state.tell(got.err) // it would come again and again
			}
			return got.err
		}
		k.rec.Received, k.rec.StateIndex = true, got.index
	case !k.promised:
		return fmt.Errorf("snapshot %s has no content", k.rec.ID)
	}
	kept, err := k.keep(got.path)
	if !kept && got.path != "" {
		err = errors.Join(err, os.Remove(got.path))
	}
	return err
}

// keep makes the snapshot the newest, with its content, unless there is one that is newer:
// raft persists a server's own while it takes over another one's.
func (k *sink) keep(content string) (kept bool, err error) {
	if err := k.rec.check(); err != nil {
		return false, fmt.Errorf("snapshot %s: %w", k.rec.ID, err)
	}
	k.store.mu.Lock()
	defer k.store.mu.Unlock()
	newest := k.store.newest
	switch {
	case newest == nil || newest.Index <= k.rec.Index && newest.StateIndex <= k.rec.StateIndex:
	case content != "" && newest.StateIndex == k.rec.StateIndex:
		// The entries between are none of the state machine's.
		k.rec = *newest
		return false, nil
	default:
		return false, fmt.Errorf("snapshot %s: %w: %s", k.rec.ID, ErrOutdated, newest.ID)
	}
	if content != "" {
		if err := atomicfile.Rename(content, filepath.Join(k.store.dir, receivedFile)); err != nil {
			return false, err
		}
	}
	k.written = true
	return true, k.store.write(&k.rec)
}

// still returns an error where the snapshot was written and a newer one has come since.
func (k *sink) still() error {
	k.store.mu.Lock()
	defer k.store.mu.Unlock()
	if newest := k.store.newest; k.written && newest.Index > k.rec.Index {
		return fmt.Errorf("snapshot %s: %w: %s", k.rec.ID, ErrOutdated, newest.ID)
	}
	return nil
}

// end says that no more content comes, and waits for what has become of it.
func (k *sink) end() received {
	_ = k.content.Close() // of a pipe: it cannot fail
	return <-k.received
}

// Cancel implements raft.SnapshotSink.
func (k *sink) Cancel() error {
	if k.done {
		return nil
	}
	k.done = true
	if k.content == nil {
		return nil
	}
	if got := k.end(); got.err == nil {
		return os.Remove(got.path)
	}
	return nil
}

// Promiser is implemented by the sinks of Snapshots.
type Promiser interface {
	// Promise says that state.db has reached index.
	Promise(index uint64)
}
