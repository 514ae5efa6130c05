package raftlog

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"os"

	"github.com/hashicorp/raft-wal/segment"
)

// The form of raft-wal's files: a header, and frames, each with a header of its own and padded to a
// multiple of that. A write is some frames, and at last one that has their checksum and no content.
// The last write to a file has the index of its entries.
const (
	walHeaderBytes = 32
	walFrameBytes  = 8
)

// walTail is what is whole in a file of the log.
type walTail struct {
	// end is where the last whole write ends; 0: there is none.
	end int64
	// entries is how many there are up to end.
	entries uint64
	// index is where the content of the index begins, which may be behind end; 0: there is none.
	index int64
}

// recoverTail reads a file that may have been written to when the server crashed, and clears an index
// that is not whole: raft-wal takes it for one that is. A file that is not there is empty.
func recoverTail(path string) (walTail, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return walTail{}, nil
	}
	if err != nil {
		return walTail{}, err
	}
	tail, err := readTail(f)
	if err == nil && tail.index > tail.end {
		tail.index = 0
		err = clearFrom(f, tail.end)
	}
	return tail, errors.Join(err, f.Close())
}

// readTail takes for whole what raft-wal does: each write that another one follows, and the last one
// if its checksum is right.
func readTail(f *os.File) (walTail, error) {
	var before, tail walTail
	var entries uint64
	var index int64
	var sum uint32
	r := &frameReader{r: bufio.NewReaderSize(io.NewSectionReader(f, walHeaderBytes, math.MaxInt64-walHeaderBytes), 1<<20), at: walHeaderBytes}
	for kind := segment.FrameEntry; kind != segment.FrameInvalid; {
		var value uint32
		var err error
		if kind, value, err = r.next(); err != nil {
			return walTail{}, err
		}
		switch kind {
		case segment.FrameEntry:
			entries++
		case segment.FrameIndex:
			index = r.at
		case segment.FrameCommit:
			before, tail, sum = tail, walTail{end: r.at, entries: entries}, value
		}
	}
	if tail.end > 0 && tail.entries == entries {
		hash := crc32.New(castagnoli)
		if _, err := io.Copy(hash, io.NewSectionReader(f, before.end, tail.end-walFrameBytes-before.end)); err != nil {
			return walTail{}, err
		}
		if hash.Sum32() != sum {
			tail = before
		}
	}
	tail.index = index
	return tail, nil
}

// frameReader reads the frames of a file of the log, without their content.
type frameReader struct {
	r *bufio.Reader
	// at is where the content of the frame begins that was read last, and rest how long it is, padded.
	at, rest int64
}

// next returns the kind of the next frame, and its length or checksum; segment.FrameInvalid: there is none.
func (f *frameReader) next() (kind uint8, value uint32, err error) {
	var head [walFrameBytes]byte
	if _, err = f.r.Discard(int(f.rest)); err == nil {
		_, err = io.ReadFull(f.r, head[:])
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return segment.FrameInvalid, 0, nil
	}
	f.at += f.rest + walFrameBytes
	kind, value, f.rest = head[0], binary.LittleEndian.Uint32(head[4:]), 0
	switch kind {
	case segment.FrameEntry, segment.FrameIndex:
		f.rest = (int64(value) + walFrameBytes - 1) / walFrameBytes * walFrameBytes
	case segment.FrameCommit:
	default:
		kind = segment.FrameInvalid
	}
	return kind, value, err
}

// clearFrom writes zeros from an offset to the end of a file, which keeps its space. What is there is
// cleared from its end: after a crash meanwhile, it is cleared again.
func clearFrom(f *os.File, from int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	zeros := make([]byte, 1<<20)
	for to := info.Size(); to > from; {
		at := max(from, to-int64(len(zeros)))
		if _, err := f.WriteAt(zeros[:to-at], at); err != nil {
			return err
		}
		to = at
	}
	return f.Sync()
}
