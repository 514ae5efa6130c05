package harness

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

const (
	// smallBytes is the size of a payload of Distinct, Single and Clients.
	smallBytes = 64
	// LargeBytes is the size of a payload and of a result of Large.
	LargeBytes = 64 << 10
	// ResultBytes is the size of a result of the others.
	ResultBytes = 16
	idBytes     = 8
)

// Payload is that of task i; nil for workloads without payloads.
func (l *Load) Payload(i int) []byte {
	switch l.Workload {
	case Array:
		return nil
	case Commands:
		return []byte(Line(i))
	case Large:
		return l.payload(i, LargeBytes)
	case Overload:
		if OverloadLarge(i) {
			return l.payload(i, LargeBytes)
		}
	}
	return l.payload(i, smallBytes)
}

// largeEach: one in so many tasks of Overload is a large one.
const largeEach = 20

// OverloadLarge says whether task i of Overload has a large payload and result.
func OverloadLarge(i int) bool { return i%largeEach == 0 }

// payload is the task's number and bytes that no system can compress.
func (l *Load) payload(i, size int) []byte {
	id := l.ID(i)
	p := binary.BigEndian.AppendUint64(make([]byte, 0, size), id)
	r := rand.NewPCG(id, 1)
	for len(p) < size {
		p = binary.BigEndian.AppendUint64(p, r.Uint64())
	}
	return p
}

// ID is the number of task i, which no task of another run has.
func (l *Load) ID(i int) uint64 { return uint64(l.Round)<<32 | uint64(uint32(i)) }

// IDOf is the number in a payload.
func IDOf(payload []byte) uint64 {
	if len(payload) < idBytes {
		return 0
	}
	return binary.BigEndian.Uint64(payload)
}

// Index is the task of a number; ok is false for a task of another run.
func (l *Load) Index(id uint64) (i int, ok bool) {
	i = int(uint32(id))
	return i, uint32(id>>32) == l.Round && i < l.Tasks
}

// Work is what a task does: nothing without a payload, a hash of a small one, and a
// large one comes back as it is.
func Work(payload []byte) []byte {
	switch {
	case len(payload) == 0:
		return nil
	case len(payload) >= LargeBytes:
		return payload
	default:
		sum := sha256.Sum256(payload)
		return sum[:ResultBytes]
	}
}

// Line is line i of the input of Commands.
func Line(i int) string { return fmt.Sprintf("line-%06d", i) }

// Bytes is how many bytes of payload and result a task of the workload has.
func (w Workload) Bytes() int {
	switch w {
	case Array, Commands, Overload:
		return 0
	case Large:
		return 2 * LargeBytes
	default:
		return smallBytes + ResultBytes
	}
}
