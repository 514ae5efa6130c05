package store

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/atomicfile"
)

// A streamed state is a magic word, the length of the file, the file, and the
// SHA-256 of the file.
const (
	streamMagic  = "ROTASTA1"
	streamHeader = int64(len(streamMagic)) + 8
	streamExtra  = streamHeader + sha256.Size
	// streamIdle bounds how long nobody may read of a stream: its read transaction is held
	// as long.
	streamIdle = time.Minute
	// growthShare is by which part of the free space the file may grow while it is sent: the
	// pages that the transaction sees cannot be used again meanwhile.
	growthShare = 4
	// growthEvery is after how many bytes that is looked at.
	growthEvery = 1 << 20
	// receivedUnsynced bounds what of a state that comes in is not on the disk yet, bytes. The
	// kernel would gather a fifth of the memory and write it at once, before which whatever else is
	// to be synced on that disk waits: the log of another server, or of another program.
	receivedUnsynced = 8 << 20
	// receivedSpare is what must be left on the disk behind a state that comes in, bytes: a file of the
	// log, which goes on meanwhile. A state that does not fit would fill the disk, be deleted,
	// and come again.
	receivedSpare = 64 << 20
)

// stream is the live file, as of one read transaction. It may take as long as it takes, over
// a slow link, as long as it gets on and the disk has space for what changes meanwhile.
type stream struct {
	*io.PipeReader
	meta *logpb.Meta
	has  Contents
	size int64
	done chan struct{}
	idle *time.Timer
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.PipeReader.Read(p)
	s.idle.Reset(streamIdle)
	return n, err
}

// Close ends the stream and waits until its transaction has ended.
func (s *stream) Close() error {
	s.idle.Stop()
	err := s.PipeReader.Close()
	<-s.done
	return err
}

// stream opens the live file for sending.
func (s *State) stream() (out *stream, err error) {
	err = s.read(func(p *pair) error {
		fsm.OpensTransaction()
		tx, err := p.db.bolt.Begin(false)
		if err != nil {
			return err
		}
		meta := &logpb.Meta{}
		if err := getMeta(tx, meta); err != nil {
			return errors.Join(err, tx.Rollback())
		}
		r, w := io.Pipe()
		out = &stream{PipeReader: r, meta: meta, has: contents(tx), size: tx.Size() + streamExtra, done: make(chan struct{})}
		out.idle = time.AfterFunc(streamIdle, func() {
			_ = w.CloseWithError(fmt.Errorf("nothing of the state was read for %v", streamIdle))
		})
		bounded := &boundedGrowth{Writer: w, size: p.db.Size, most: tx.Size() + cmp.Or(s.growth, freeSpace(s.dir)/growthShare)}
		go func() {
			defer close(out.done)
			_ = w.CloseWithError(errors.Join(fsm.InTransaction(func() error { return writeStream(tx, bounded) }), tx.Rollback()))
		}()
		return nil
	})
	return out, err
}

// boundedGrowth is a writer that gives up when a file has grown too much.
type boundedGrowth struct {
	io.Writer
	// size is that of the file, most how large it may be, bytes.
	size func() int64
	most int64
	// unseen is how much was written since it was looked at.
	unseen int
}

// Write implements io.Writer.
func (b *boundedGrowth) Write(p []byte) (int, error) {
	if b.unseen += len(p); b.unseen >= growthEvery {
		b.unseen = 0
		if size := b.size(); size > b.most {
			return 0, fmt.Errorf("state.db has grown to %d bytes while it was sent, and may grow to %d: a quarter of the free space", size, b.most)
		}
	}
	return b.Writer.Write(p)
}

// freeSpace is how many bytes are free on the disk of a folder; where nobody knows, as with a file system
// that does not say how large it is, there is no limit.
func freeSpace(dir string) int64 {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil || s.Blocks == 0 {
		return math.MaxInt64 / 2
	}
	return int64(s.Bavail) * s.Bsize
}

func writeStream(tx *bolt.Tx, w io.Writer) error {
	header := binary.BigEndian.AppendUint64([]byte(streamMagic), uint64(tx.Size()))
	if _, err := w.Write(header); err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := tx.WriteTo(io.MultiWriter(w, sum)); err != nil {
		return err
	}
	_, err := w.Write(sum.Sum(nil))
	return err
}

// Receive writes a streamed state to a temporary file in dir, checks it, and makes it
// durable. It returns the file's path and meta record.
func Receive(dir string, r io.Reader) (path string, meta *logpb.Meta, err error) {
	header := make([]byte, streamHeader)
	if _, err := io.ReadFull(r, header); err != nil {
		return "", nil, fmt.Errorf("receive the state: %w", err)
	}
	if string(header[:len(streamMagic)]) != streamMagic {
		return "", nil, fmt.Errorf("receive the state: %w: it does not begin with %s", ErrCorrupt, streamMagic)
	}
	size := int64(binary.BigEndian.Uint64(header[len(streamMagic):]))
	if size <= 0 {
		return "", nil, fmt.Errorf("receive the state: %w: its length is %d", ErrCorrupt, size)
	}
	if free := freeSpace(dir); size > free-receivedSpare {
		return "", nil, fmt.Errorf("receive the state: it has %d bytes, the disk of %s has %d left, of which %d are for the log: free some space: %w", size, dir, free, receivedSpare, syscall.ENOSPC)
	}
	f, err := os.CreateTemp(dir, receivingFile)
	if err != nil {
		return "", nil, err
	}
	path = f.Name()
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	if err := errors.Join(receiveInto(f, r, size), f.Close()); err != nil {
		return path, nil, fmt.Errorf("receive the state: %w", err)
	}
	if err := atomicfile.SyncFolder(dir); err != nil {
		return path, nil, err
	}
	if meta, err = verify(path); err != nil {
		return path, nil, fmt.Errorf("receive the state: %w", err)
	}
	return path, meta, nil
}

// syncable is a file that is written.
type syncable interface {
	io.Writer
	Sync() error
}

// syncing is a writer that syncs its file after each receivedUnsynced bytes.
type syncing struct {
	syncable
	unsynced int
}

// Write implements io.Writer.
func (s *syncing) Write(p []byte) (n int, err error) {
	n, err = s.syncable.Write(p)
	if s.unsynced += n; err == nil && s.unsynced >= receivedUnsynced {
		s.unsynced = 0
		err = s.Sync()
	}
	return n, err
}

func receiveInto(f syncable, r io.Reader, size int64) error {
	sum := sha256.New()
	if n, err := io.CopyN(io.MultiWriter(&syncing{syncable: f}, sum), r, size); err != nil {
		return fmt.Errorf("%d of %d bytes: %w", n, size, err)
	}
	want := make([]byte, sha256.Size)
	if _, err := io.ReadFull(r, want); err != nil {
		return err
	}
	if string(sum.Sum(nil)) != string(want) {
		return fmt.Errorf("%w: its checksum is wrong", ErrCorrupt)
	}
	return f.Sync()
}
