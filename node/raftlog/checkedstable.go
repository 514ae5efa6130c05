package raftlog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/hashicorp/raft"
)

const (
	// sealed begins a value that has a checksum. What raft stores by itself does not begin
	// with it: eight bytes of a number, or the text of a server's id.
	sealed = 0xC5
	// sealBytes is that and the checksum.
	sealBytes = 1 + crc32.Size
)

// checkedStable stores a checksum with raft's term and vote and checks it when they are
// read: a server that reads another vote than it gave may vote twice in a term.
type checkedStable struct{ raft.StableStore }

// seal puts the checksum of a key and its value before the value.
func seal(key, value []byte) []byte {
	out := append(make([]byte, 0, sealBytes+len(value)), sealed)
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
	return append(binary.BigEndian.AppendUint32(out, sum), value...)
}

// Set implements raft.StableStore.
func (c *checkedStable) Set(key, value []byte) error { return c.StableStore.Set(key, seal(key, value)) }

// SetUint64 implements raft.StableStore.
func (c *checkedStable) SetUint64(key []byte, value uint64) error {
	return c.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

// Get implements raft.StableStore. A value of a version that stored no checksums is
// returned as it is.
func (c *checkedStable) Get(key []byte) ([]byte, error) {
	raw, err := c.StableStore.Get(key)
	if err != nil || len(raw) < sealBytes || raw[0] != sealed {
		return raw, err
	}
	if value := raw[sealBytes:]; string(raw) == string(seal(key, value)) {
		return value, nil
	}
	return nil, fmt.Errorf("raft's %s fails its checksum; %s", key, CorruptAdvice)
}

// GetUint64 implements raft.StableStore.
func (c *checkedStable) GetUint64(key []byte) (uint64, error) {
	raw, err := c.StableStore.Get(key)
	if err != nil || len(raw) == 0 {
		return 0, err
	}
	const bytes = 8
	if len(raw) == bytes {
		return c.StableStore.GetUint64(key) // of a version that stored no checksums
	}
	value, err := c.Get(key)
	switch {
	case err != nil:
		return 0, err
	case len(value) != bytes || len(raw) != sealBytes+bytes:
		return 0, fmt.Errorf("raft's %s is %d bytes of nonsense; %s", key, len(raw), CorruptAdvice)
	}
	return binary.BigEndian.Uint64(value), nil
}
