package store

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
)

// A streamed state is a magic word, the length of the file, the file, and the
// SHA-256 of the file.
const (
	streamMagic  = "ROTASTA1"
	streamHeader = int64(len(streamMagic)) + 8
	streamExtra  = streamHeader + sha256.Size
	// streamLimit bounds how long a stream may hold its read transaction: while it
	// does, the pages it sees cannot be used again, and the file grows.
	streamLimit = 10 * time.Minute
)

// stream is the live file, as of one read transaction.
type stream struct {
	*io.PipeReader
	meta  *logpb.Meta
	size  int64
	done  chan struct{}
	timer *time.Timer
}

// Close ends the stream and waits until its transaction has ended.
func (s *stream) Close() error {
	s.timer.Stop()
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
		out = &stream{PipeReader: r, meta: meta, size: tx.Size() + streamExtra, done: make(chan struct{})}
		out.timer = time.AfterFunc(streamLimit, func() {
			_ = r.CloseWithError(fmt.Errorf("the state was not read within %v", streamLimit))
		})
		go func() {
			defer close(out.done)
			_ = w.CloseWithError(errors.Join(writeStream(tx, w), tx.Rollback()))
		}()
		return nil
	})
	return out, err
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
	if err := syncDir(dir); err != nil {
		return path, nil, err
	}
	if meta, err = verify(path); err != nil {
		return path, nil, fmt.Errorf("receive the state: %w", err)
	}
	return path, meta, nil
}

func receiveInto(f *os.File, r io.Reader, size int64) error {
	sum := sha256.New()
	if n, err := io.CopyN(io.MultiWriter(f, sum), r, size); err != nil {
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
