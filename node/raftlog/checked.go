package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// sumBytes is the size of the checksum in front of an entry's extension.
const sumBytes = crc32.Size

// checkedLog stores a checksum with each entry and checks it when the entry is read.
// Neither raft nor its store does: a bit that flips on the disk would be applied by
// this server, or sent to others, as if it had been committed.
type checkedLog struct {
	raft.LogStore
	fatal func(error)
	// running says that raft runs, which takes an entry that cannot be read for a
	// reason to panic. Before that the error is an answer.
	running atomic.Bool
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum covers all of an entry but its time of appending, which means nothing.
func checksum(l *raft.Log) []byte {
	head := binary.BigEndian.AppendUint64(nil, l.Index)
	head = binary.BigEndian.AppendUint64(head, l.Term)
	head = append(head, byte(l.Type))
	sum := crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, l.Data)
	return binary.BigEndian.AppendUint32(make([]byte, 0, sumBytes+len(l.Extensions)), crc32.Update(sum, castagnoli, l.Extensions))
}

// StoreLog implements raft.LogStore.
func (c *checkedLog) StoreLog(l *raft.Log) error { return c.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore. The checksum stands in the field that raft leaves to
// middleware, before what the leader has put there; it is this server's own and is not sent
// to others.
func (c *checkedLog) StoreLogs(logs []*raft.Log) error {
	sealed := make([]raft.Log, len(logs))
	out := make([]*raft.Log, len(logs))
	for i, l := range logs {
		// Raft still has the entry, and so may readers: it must not be changed.
		sealed[i] = *l
		sealed[i].Extensions = append(checksum(l), l.Extensions...)
		out[i] = &sealed[i]
	}
	return c.LogStore.StoreLogs(out)
}

// GetLog implements raft.LogStore.
func (c *checkedLog) GetLog(index uint64, l *raft.Log) error {
	err := c.LogStore.GetLog(index, l)
	switch {
	case errors.Is(err, raft.ErrLogNotFound):
		return err
	case err != nil:
		err = fmt.Errorf("log entry %d cannot be read: %w; %s", index, err, CorruptAdvice)
	case !unseal(index, l):
		err = fmt.Errorf("log entry %d fails its checksum; %s", index, CorruptAdvice)
	default:
		return nil
	}
	if c.running.Load() {
		c.fatal(err)
	}
	return err
}

// unseal takes the checksum off an entry, and says whether it was right.
func unseal(index uint64, l *raft.Log) bool {
	if l.Index != index || len(l.Extensions) < sumBytes {
		return false
	}
	sum := l.Extensions[:sumBytes]
	if l.Extensions = l.Extensions[sumBytes:]; len(l.Extensions) == 0 {
		l.Extensions = nil
	}
	return string(sum) == string(checksum(l))
}

// CorruptAdvice is what to do about a log that is not what was written.
const CorruptAdvice = "the log is corrupt: restore the data folder, or move it away and let the server join anew"
