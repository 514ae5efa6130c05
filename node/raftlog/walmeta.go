package raftlog

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// walSumsKey is where the checksums are, beside raft's term and vote.
const walSumsKey = "rota/wal-meta"

// checkedMeta is what raft-wal keeps of its files, with a checksum: which there are, where
// the log begins and each of them ends. One flipped bit of that hides acknowledged entries.
//
// The checksum cannot be written together with what it is of, so it is written before, and
// that of what is replaced is kept beside it: after a crash one of them is right.
type checkedMeta struct {
	metadb.BoltMetaDB
	sum uint32

	mu sync.Mutex
	// files are the indexes at which the files begin.
	files []uint64
}

// begins are the indexes at which the files of the log begin, in their order.
func (c *checkedMeta) begins() []uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.files
}

func (c *checkedMeta) saw(state types.PersistentState) {
	files := make([]uint64, len(state.Segments))
	for i, s := range state.Segments {
		files[i] = s.BaseIndex
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files = files
}

func walSum(state types.PersistentState) (uint32, error) {
	encoded, err := json.Marshal(state)
	return crc32.Checksum(encoded, castagnoli), err
}

// Load implements types.MetaStore. Versions without checksums have left none.
func (c *checkedMeta) Load(dir string) (types.PersistentState, error) {
	state, err := c.BoltMetaDB.Load(dir)
	if err != nil {
		return state, err
	}
	c.saw(state)
	if c.sum, err = walSum(state); err != nil {
		return state, err
	}
	raw, err := c.GetStable([]byte(walSumsKey))
	if err != nil {
		return state, err
	}
	if raw == nil {
		return c.closeNewest(dir, state)
	}
	var sums []uint32
	for part := range slices.Chunk(raw, crc32.Size) {
		if len(part) == crc32.Size {
			sums = append(sums, binary.BigEndian.Uint32(part))
		}
	}
	if !slices.Contains(sums, c.sum) {
		return state, fmt.Errorf("%w: what is written of its files in %s fails its checksum; restore the data folder, or move it away and let the server join anew", errCorrupt, walMetaFile)
	}
	return c.closeNewest(dir, state)
}

// closeNewest notes that the newest file is closed, where that was not noted any more. raft-wal writes
// its index to a file that is full, or that the end was deleted of, and then notes that it is closed.
// After a crash in between it would neither append to it, ever, nor begin another one.
func (c *checkedMeta) closeNewest(dir string, state types.PersistentState) (types.PersistentState, error) {
	n := len(state.Segments)
	if n == 0 || !state.Segments[n-1].SealTime.IsZero() {
		return state, nil
	}
	newest := state.Segments[n-1]
	tail, err := recoverTail(filepath.Join(dir, segment.FileName(newest)))
	if err != nil || tail.index == 0 {
		return state, err
	}
	now := time.Now()
	newest.SealTime, newest.IndexStart, newest.MaxIndex = now, uint64(tail.index), newest.BaseIndex+tail.entries-1
	next := types.SegmentInfo{
		ID: state.NextSegmentID, BaseIndex: newest.MaxIndex + 1, MinIndex: newest.MaxIndex + 1,
		SizeLimit: newest.SizeLimit, Codec: newest.Codec, CreateTime: now,
	}
	state.NextSegmentID++
	state.Segments = append(slices.Clone(state.Segments[:n-1]), newest, next)
	return state, c.CommitState(state)
}

// CommitState implements types.MetaStore.
func (c *checkedMeta) CommitState(state types.PersistentState) error {
	sum, err := walSum(state)
	if err != nil {
		return err
	}
	sums := binary.BigEndian.AppendUint32(nil, c.sum)
	if err := c.SetStable([]byte(walSumsKey), binary.BigEndian.AppendUint32(sums, sum)); err != nil {
		return err
	}
	if err := c.BoltMetaDB.CommitState(state); err != nil {
		return err
	}
	c.sum = sum
	c.saw(state)
	return nil
}
