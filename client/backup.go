package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync/atomic"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// SaveOptions are those of a backup.
type SaveOptions struct {
	// Stale takes the state of whichever server answers, as it is: all that was acknowledged before need not be in it. It works without
	// a leader.
	Stale bool
}

// SaveSnapshot writes a backup of the cluster's state to w, and returns how many bytes it has. The backup is whole if the
// error is nil, and only then. It is tried again on other servers until the first bytes have come; one that is cut off
// after that is task.ErrUnavailable, and can be saved anew.
func (c *Client) SaveSnapshot(ctx context.Context, w io.Writer, opts SaveOptions) (int64, error) {
	op := call{op: "save a snapshot", safe: true, timeout: -1}
	// A backup may take long. That the first bytes come may not.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begun, late := func() bool { return true }, new(atomic.Bool)
	if c.requestTimeout > 0 {
		begun = time.AfterFunc(c.requestTimeout, func() { late.Store(true); cancel() }).Stop
		defer begun()
	}
	sum := &trailed{w: w, sum: sha256.New(), begun: begun}
	err := c.save(ctx, op, opts, sum)
	if err != nil && late.Load() {
		err = &task.Error{Kind: task.KindUnavailable, Msg: fmt.Sprintf("%s: no server began to send one within %v", op.op, c.requestTimeout), Err: err}
	}
	return sum.written, err
}

// save asks one server after the other, until one has begun.
func (c *Client) save(ctx context.Context, op call, opts SaveOptions, sum *trailed) error {
	a := c.attempts(ctx, op)
	for {
		s, err := a.next()
		if err != nil {
			return err
		}
		// Not begin: a backup goes on when another server becomes the leader.
		err = saveFrom(c.finder.Naming(ctx), s, opts, sum)
		switch {
		case err == nil:
			a.progress()
			return nil
		case errors.Is(err, errChecksum):
			return fmt.Errorf("%s: %w", op.op, err)
		case sum.failed != nil:
			return fmt.Errorf("%s: write it: %w", op.op, sum.failed)
		case sum.written > 0 || len(sum.held) > 0:
			return &task.Error{Kind: task.KindUnavailable, Msg: fmt.Sprintf("%s: it was cut off after %d bytes: %v", op.op, sum.written, wire.FromStatus(err)), Err: err}
		}
		if err := a.failed(err, false); err != nil {
			return err
		}
	}
}

// saveFrom writes the backup of one server.
func saveFrom(ctx context.Context, s *server, opts SaveOptions, w *trailed) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := s.cluster.SaveSnapshot(ctx, &rotav1.SaveSnapshotRequest{Stale: opts.Stale})
	if err != nil {
		return err
	}
	for {
		msg, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return w.end()
		}
		if err != nil {
			return err
		}
		if _, err := w.Write(msg.GetData()); err != nil {
			return err
		}
	}
}

// errChecksum says that all of a backup came, and that it is not what the server sent.
var errChecksum = task.Errorf(task.KindInternal, "the checksum of the backup is wrong")

// trailed writes what comes, and compares its last bytes with the SHA-256 of all before them.
type trailed struct {
	w   io.Writer
	sum hash.Hash
	// begun is called when bytes come.
	begun func() bool
	// held is the newest bytes, which may be the last ones.
	held    []byte
	written int64
	// failed is what w has returned.
	failed error
}

// Write implements io.Writer.
func (t *trailed) Write(p []byte) (int, error) {
	t.begun()
	t.held = append(t.held, p...)
	if n := len(t.held) - sha256.Size; n > 0 {
		if err := t.pass(t.held[:n]); err != nil {
			return 0, err
		}
		t.held = append(t.held[:0], t.held[n:]...)
	}
	return len(p), nil
}

func (t *trailed) pass(p []byte) error {
	t.sum.Write(p)
	n, err := t.w.Write(p)
	t.written += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	t.failed = err
	return err
}

// end writes the checksum, if it is right.
func (t *trailed) end() error {
	if want := t.sum.Sum(nil); !bytes.Equal(want, t.held) {
		return errChecksum
	}
	n, err := t.w.Write(t.held)
	t.written += int64(n)
	t.failed = err
	return err
}
