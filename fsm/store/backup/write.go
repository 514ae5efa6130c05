package backup

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

const (
	magic = "ROTABAK1"
	// sizeBytes is how many bytes a length has.
	sizeBytes = 4
	// blockBytes is the largest block. Whoever reads takes no more at once.
	blockBytes = 256 << 10
	// windowBytes is how far back zstd looks: it bounds the memory of both sides.
	windowBytes = 1 << 20
)

// Write writes a backup of a state, which is read to its end.
func Write(w io.Writer, m *Manifest, state io.Reader) error {
	m.Format = Format
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	sum := sha256.New()
	out := io.MultiWriter(w, sum)
	head := binary.BigEndian.AppendUint32([]byte(magic), uint32(len(text)))
	if _, err := out.Write(append(head, text...)); err != nil {
		return err
	}
	if err := writeBlocks(out, state); err != nil {
		return err
	}
	_, err = w.Write(sum.Sum(nil))
	return err
}

// writeBlocks compresses the state into blocks.
func writeBlocks(w io.Writer, state io.Reader) error {
	gathered := bufio.NewWriterSize(blocks{w}, blockBytes)
	z, err := zstd.NewWriter(gathered, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(windowBytes), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		return err
	}
	_, err = io.Copy(z, state)
	// Also where that failed: it has memory to give back.
	if closed := z.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("compress the state: %w", err)
	}
	if err := gathered.Flush(); err != nil {
		return err
	}
	_, err = w.Write(make([]byte, sizeBytes))
	return err
}

// blocks writes each piece as a block.
type blocks struct{ w io.Writer }

// Write implements io.Writer. bufio passes large pieces on as they are.
func (b blocks) Write(p []byte) (n int, err error) {
	for n < len(p) {
		part := p[n:min(n+blockBytes, len(p))]
		if _, err := b.w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part)))); err != nil {
			return n, err
		}
		if _, err := b.w.Write(part); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}
