package backup

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Reader reads a backup: the manifest at once, then the state. Only Finish says that the file is whole; nothing of it may be
// used before.
type Reader struct {
	// Manifest says what should be in it.
	Manifest Manifest

	source io.Reader // the file
	sum    hash.Hash // of what was read of it
	zstd   *zstd.Decoder
	blocks *unblocked
}

// Open reads the beginning of a backup. Close must be called.
func Open(file io.Reader) (*Reader, error) {
	r := &Reader{source: file, sum: sha256.New()}
	in := io.TeeReader(file, r.sum)
	head := make([]byte, len(magic)+sizeBytes)
	if _, err := io.ReadFull(in, head); err != nil {
		return nil, cut(err)
	}
	if string(head[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: it does not begin with %s, as files of rota cluster snapshot save do", ErrDamaged, magic)
	}
	size := binary.BigEndian.Uint32(head[len(magic):])
	if size > maxManifest {
		return nil, fmt.Errorf("%w: its manifest has %d bytes", ErrDamaged, size)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(in, text); err != nil {
		return nil, cut(err)
	}
	var err error
	if r.Manifest, err = decodeManifest(text); err != nil {
		return nil, err
	}
	r.blocks = &unblocked{in: in}
	r.zstd, err = zstd.NewReader(r.blocks, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(windowBytes), zstd.WithDecoderLowmem(true))
	return r, err
}

// Read implements io.Reader: it reads the state.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.zstd.Read(p)
	switch {
	case err == nil:
	case r.blocks.failed != nil:
		err = r.blocks.failed // zstd may have made another error of it
	case !errors.Is(err, io.EOF):
		err = fmt.Errorf("%w: %w", ErrDamaged, err) // zstd cannot read it
	}
	return n, err
}

// Finish reads the rest, and says whether the file is whole, and nothing is behind it.
func (r *Reader) Finish() error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	if !r.blocks.ended {
		// zstd has seen the end of its stream and asked for no more.
		if n, err := io.Copy(io.Discard, r.blocks); err != nil || n > 0 {
			return cmp.Or(err, fmt.Errorf("%w: there is more in it than the state", ErrDamaged))
		}
	}
	want, got := r.sum.Sum(nil), make([]byte, sha256.Size)
	if _, err := io.ReadFull(r.source, got); err != nil {
		return cut(err)
	}
	if !bytes.Equal(want, got) {
		return fmt.Errorf("%w: its checksum is wrong", ErrDamaged)
	}
	switch n, err := io.ReadFull(r.source, make([]byte, 1)); {
	case n > 0:
		return fmt.Errorf("%w: there is something behind its end", ErrDamaged)
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

// Close gives memory back. It does not close the file.
func (r *Reader) Close() { r.zstd.Close() }

// cut says so of a file that ends too early.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it was cut off", ErrDamaged)
	}
	return err
}

// unblocked reads what is in the blocks.
type unblocked struct {
	in io.Reader
	// left is how much of the block was not read yet.
	left uint32
	// ended: the block of length 0 was read. failed is why there is no more.
	ended  bool
	failed error
}

// Read implements io.Reader.
func (b *unblocked) Read(p []byte) (n int, err error) {
	if b.failed != nil {
		return 0, b.failed
	}
	if n, err = b.read(p); err != nil && !b.ended {
		err = cut(err)
		b.failed = err
	}
	return n, err
}

func (b *unblocked) read(p []byte) (n int, err error) {
	if b.left == 0 {
		if b.ended {
			return 0, io.EOF
		}
		var size [sizeBytes]byte
		if _, err := io.ReadFull(b.in, size[:]); err != nil {
			return 0, err
		}
		switch b.left = binary.BigEndian.Uint32(size[:]); {
		case b.left == 0:
			b.ended = true
			return 0, io.EOF
		case b.left > blockBytes:
			return 0, fmt.Errorf("%w: a block of it has %d bytes", ErrDamaged, b.left)
		}
	}
	n, err = b.in.Read(p[:min(len(p), int(b.left))])
	b.left -= uint32(n)
	return n, err
}
