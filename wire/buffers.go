package wire

import (
	"math/bits"
	"sync"
)

const (
	// largestPooled is the largest size for which gRPC's pool has buffers of about that size, bytes. Larger buffers
	// there have 1 MiB, and the pool clears all of it each time.
	largestPooled = 1 << largestPooledBits
	// largestKept is the largest buffer that is kept for the next message, bytes. Messages of workers and pages of
	// results have about 256 KiB; few are larger.
	largestKept = 1 << largestKeptBits

	largestPooledBits, largestKeptBits = 15, 20
	// classBits makes eight sizes from one power of two to the next. So a buffer is at most an eighth larger than its
	// message. That matters because it is held for as long as the client does not read.
	classBits = 3
)

// largeBuffers keeps the memory of large messages for the next ones. It does not clear buffers, because callers fill them.
// It is a mem.BufferPool for sizes above largestPooled.
type largeBuffers struct {
	classes [(largestKeptBits - largestPooledBits) << classBits]sync.Pool
}

// classOf is the smallest class whose buffers have room for some bytes, and the size of these buffers.
func classOf(length int) (class, size int) {
	// The step from one size to the next is an eighth of the power of two below them.
	exponent := bits.Len(uint(length-1)) - 1
	step := exponent - classBits
	n := (length-1)>>step + 1 // in steps: 9 to 16
	return (exponent-largestPooledBits)<<classBits + n - 1<<classBits - 1, n << step
}

// Get implements mem.BufferPool.
func (p *largeBuffers) Get(length int) *[]byte {
	if length > largestKept {
		buf := make([]byte, length)
		return &buf
	}
	class, size := classOf(length)
	if buf, ok := p.classes[class].Get().(*[]byte); ok {
		*buf = (*buf)[:length]
		return buf
	}
	buf := make([]byte, length, size)
	return &buf
}

// Put implements mem.BufferPool. It takes only buffers that Get has made: others may not fit their class.
func (p *largeBuffers) Put(buf *[]byte) {
	if size := cap(*buf); largestPooled < size && size <= largestKept {
		if class, fits := classOf(size); size == fits {
			p.classes[class].Put(buf)
		}
	}
}

var large largeBuffers
