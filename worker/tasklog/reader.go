package tasklog

import (
	"context"
	"errors"
	"io"
	"sort"
	"time"
)

// Wanted says which streams a reader wants.
type Wanted uint8

// What a reader may want.
const (
	OnlyStdout Wanted = 1 << Stdout
	OnlyStderr Wanted = 1 << Stderr
	Both              = OnlyStdout | OnlyStderr
)

func (w Wanted) has(s Stream) bool { return w&(1<<s) != 0 }

// gatherFor is how long a reader that has waited waits for more.
const gatherFor = 5 * time.Millisecond

// ErrNoMore says that a log, which has not ended, has no more for now.
var ErrNoMore = errors.New("the log has no more for now")

// Chunk is a piece of a log.
type Chunk struct {
	Stream Stream
	Data   []byte
	// At is when the first byte came.
	At time.Time
	// Behind is the place behind it.
	Behind Position
	// Gap is how many bytes of each stream are missing, which stood before it. A chunk with a gap has no data.
	Gap Position
}

// Reader reads a log from some place on. It is for one goroutine.
type Reader struct {
	log    *Log
	wanted Wanted
	// at is how far the reader is.
	at Position
	// in is the block that it reads, off where its next record begins there, and from which place that has.
	in   *block
	off  int
	from Position
	// loaded is the records of in, where they were read from the disk.
	loaded []byte
	buffer []byte
}

// Read returns a reader that begins at a place.
func (l *Log) Read(at Position, wanted Wanted) *Reader {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at.sum() > l.end.sum() {
		at = l.end
	}
	return &Reader{log: l, wanted: wanted, at: at}
}

// At is how far the reader is.
func (r *Reader) At() Position { return r.at }

// Next returns the next piece of at most so many bytes, for which it waits. It returns io.EOF if the log has ended and
// all of it was read.
func (r *Reader) Next(ctx context.Context, most int) (Chunk, error) {
	for {
		c, news, err := r.next(most)
		if news == nil {
			return c, err
		}
		if err := gather(ctx, news); err != nil {
			return Chunk{}, err
		}
	}
}

// gather waits for news, and some time more. If each line woke each reader, a command would pay for all who keep up with it.
func gather(ctx context.Context, news <-chan struct{}) error {
	select {
	case <-news:
	case <-ctx.Done():
		return ctx.Err()
	}
	timer := time.NewTimer(gatherFor)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Ready is Next without waiting. It returns ErrNoMore where Next would wait.
func (r *Reader) Ready(most int) (Chunk, error) {
	c, news, err := r.next(most)
	if news != nil {
		return Chunk{}, ErrNoMore
	}
	return c, err
}

// next returns a piece; or, if there is none yet, what is closed when there may be one. It holds up nobody: the records
// of a block that are there never change, so it copies them without a lock.
func (r *Reader) next(most int) (c Chunk, news <-chan struct{}, err error) {
	l := r.log
	for {
		l.mu.Lock()
		b := l.blockAt(r.at)
		if b == nil || r.at.sum() < b.start.sum() {
			defer l.mu.Unlock()
			switch {
			case b != nil:
				return r.jump(b.start), nil, nil
			case r.at.sum() < l.end.sum():
				return r.jump(l.end), nil, nil
			case l.ended:
				return Chunk{}, nil, io.EOF
			}
			return Chunk{}, l.news(), nil
		}
		records, end, slot, size := b.records, b.end, b.slot, b.size
		l.mu.Unlock()
		if r.in != b {
			r.in, r.off, r.from, r.loaded = b, 0, b.start, nil
		}
		if records == nil {
			if r.loaded == nil {
				loaded, gone := r.load(b, slot, size)
				switch {
				case gone:
					continue
				case !loaded:
					return r.jump(end), nil, nil // the disk has lost it
				}
			}
			records = r.loaded
		}
		if r.take(&c, records, most) {
			return c, nil, nil
		}
		if r.at.sum() < end.sum() {
			return r.jump(end), nil, nil // the disk has changed it
		}
	}
}

// blockAt is the first block that has something behind a place; nil: there is none. mu is held.
func (l *Log) blockAt(at Position) *block {
	i := sort.Search(len(l.blocks), func(i int) bool { return l.blocks[i].end.sum() > at.sum() })
	if i == len(l.blocks) {
		return nil
	}
	return l.blocks[i]
}

// jump goes on at a later place, and returns the gap.
func (r *Reader) jump(to Position) Chunk {
	c := Chunk{Gap: to.since(r.at), Behind: to}
	r.at = to
	return c
}

// load reads the records of a block from the disk. gone: the block has gone meanwhile, and others may have written there.
func (r *Reader) load(b *block, slot, size int) (loaded, gone bool) {
	if cap(r.buffer) < size {
		r.buffer = make([]byte, BlockSize)
	}
	err := r.log.store.readAt(slot, r.buffer[:size])
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	if b.gone || b.slot != slot {
		return false, true
	}
	if err != nil {
		return false, false
	}
	r.loaded = r.buffer[:size]
	return true, false
}

func (s *Store) readAt(slot int, b []byte) error {
	f := s.file.Load()
	if f == nil {
		return io.ErrUnexpectedEOF
	}
	_, err := f.ReadAt(b, int64(slot)*BlockSize)
	return err
}

// take fills a chunk from the records of the block that is read; false: they have nothing that is wanted.
func (r *Reader) take(c *Chunk, records []byte, most int) bool {
	for r.off < len(records) {
		rec, rest, ok := nextRecord(records[r.off:])
		if !ok {
			return len(c.Data) > 0
		}
		behind := r.from.behind(rec.stream, len(rec.data))
		skip := int(min(r.at.sum()-r.from.sum(), uint64(len(rec.data))))
		data := rec.data[skip:]
		if r.wanted.has(rec.stream) && len(data) > 0 {
			if len(c.Data) > 0 && (c.Stream != rec.stream || len(c.Data) == most) {
				return true
			}
			if len(c.Data) == 0 {
				c.Data = make([]byte, 0, min(most, len(records)-r.off))
				c.Stream, c.At = rec.stream, r.in.began.Add(time.Duration(rec.after)*time.Millisecond)
			}
			if room := most - len(c.Data); len(data) > room {
				c.Data = append(c.Data, data[:room]...)
				r.at = r.from.behind(rec.stream, skip+room)
				c.Behind = r.at
				return true
			}
			c.Data = append(c.Data, data...)
		}
		r.at, r.from, r.off = r.at.Later(behind), behind, len(records)-len(rest)
		if len(c.Data) > 0 {
			c.Behind = r.at
		}
	}
	return len(c.Data) > 0
}
