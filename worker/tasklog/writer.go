package tasklog

import (
	"fmt"
	"os"
)

// maxQueued bounds the blocks that wait for the disk: 4 MiB.
const maxQueued = 64

// sealed is a full block that waits to be written.
type sealed struct {
	log   *Log
	block *block
}

// write has a block written; false: the disk is too far behind.
func (s *Store) write(l *Log, b *block) bool {
	// Most stores write nothing, and those that nobody has closed yet would keep a goroutine.
	s.begin.Do(func() { s.writer.Go(s.writeBlocks) })
	select {
	case s.waiting <- sealed{l, b}:
		return true
	default:
		return false
	}
}

// writeBlocks writes blocks in the order in which they were queued. A place on disk that has changed hands is
// written by the last one to have it, so it has the right bytes in the end.
func (s *Store) writeBlocks() {
	failing := false
	for {
		select {
		case w := <-s.waiting:
			err := s.writeBlock(w)
			if err != nil && !failing {
				s.cfg.Logger.Warn("cannot keep what commands print: parts of their logs will be missing", "error", err)
			}
			failing = err != nil
		case <-s.stop:
			return
		}
	}
}

func (s *Store) writeBlock(w sealed) error {
	w.log.mu.Lock()
	slot, records := w.block.slot, w.block.records
	w.log.mu.Unlock()
	if slot < 0 {
		return nil // its place was given to another one
	}
	err := s.put(slot, records)
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	switch {
	case w.block.gone:
	case err != nil:
		w.log.remove(w.block)
	default:
		w.block.records = nil
	}
	return err
}

func (s *Store) writeAt(slot int, records []byte) error {
	f := s.file.Load()
	if f == nil {
		var err error
		if f, err = makeFile(s.cfg.Dir); err != nil {
			return fmt.Errorf("make a file for the logs of commands: %w", err)
		}
		s.file.Store(f)
	}
	_, err := f.WriteAt(records, int64(slot)*BlockSize)
	return err
}

// makeFile makes a file without a name. It is gone when this process ends, however that happens.
func makeFile(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, "logs-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close() // it is of no use
		return nil, err
	}
	return f, nil
}
