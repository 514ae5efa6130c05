package task

import (
	"encoding/binary"
	"time"
)

// Usage is what the command of a task has used; zero if it is not known, as for handlers.
type Usage struct {
	// PeakMemory is the most resident memory that the command, or a process that it has waited for, had, bytes. Linux
	// counts at least what the process had that started the command. CPUTime is that of all these processes.
	PeakMemory uint64
	CPUTime    time.Duration
}

// MaxUsage is the longest encoded Usage, bytes.
const MaxUsage = 2 * binary.MaxVarintLen64

// Append appends what is known, in KiB and us: a few bytes, as each command leaves them.
func (u Usage) Append(b []byte) []byte {
	if u == (Usage{}) {
		return b
	}
	b = binary.AppendUvarint(b, u.PeakMemory>>10)
	return binary.AppendUvarint(b, uint64(max(0, u.CPUTime.Microseconds())))
}

// ParseUsage is the inverse of Append. Malformed usage counts as not known.
func ParseUsage(b []byte) (u Usage) {
	memory, n := binary.Uvarint(b)
	if n <= 0 {
		return Usage{}
	}
	cpu, m := binary.Uvarint(b[n:])
	// The bounds keep invented values of a worker from becoming negative.
	if m <= 0 || memory > 1<<52 || cpu > 1<<52 {
		return Usage{}
	}
	return Usage{PeakMemory: memory << 10, CPUTime: time.Duration(cpu) * time.Microsecond}
}
