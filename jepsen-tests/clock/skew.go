package clock

import (
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Env names the variable that tells a process where its Skew is.
const Env = "CHAOS_CLOCK"

// size is that of the file: one number of nanoseconds.
const size = 8

// Skew is how far the wall clock of a process is off.
type Skew struct {
	// Path is what Env is set to.
	Path string

	shared []byte
}

// New makes a skew of 0 in a new file.
func New(path string) (*Skew, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make a clock: %w", err)
	}
	defer file.Close()
	if err := file.Truncate(size); err != nil {
		return nil, fmt.Errorf("make a clock: %w", err)
	}
	shared, err := unix.Mmap(int(file.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map a clock: %w", err)
	}
	return &Skew{Path: path, shared: shared}, nil
}

// Set makes the clock jump: it is off by so much from now on.
func (s *Skew) Set(by time.Duration) { binary.NativeEndian.PutUint64(s.shared, uint64(by)) }

// Get is by how much the clock is off.
func (s *Skew) Get() time.Duration { return time.Duration(binary.NativeEndian.Uint64(s.shared)) }

// Close frees the skew. Processes that have it keep what it is.
func (s *Skew) Close() error { return unix.Munmap(s.shared) }
