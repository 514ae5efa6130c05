package wire

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Buffers fit, and are not much larger than what is asked for: unread answers are held in them.
func TestLargeBuffersFit(t *testing.T) {
	t.Parallel()
	sizes := map[int]int{}
	for length := largestPooled + 1; length <= largestKept; length++ {
		class, size := classOf(length)
		if size < length || size-length > length/8 {
			t.Fatalf("a buffer for %d bytes has %d", length, size)
		}
		if known, ok := sizes[class]; ok && known != size {
			t.Fatalf("a buffer for %d bytes has %d, another one of its class %d", length, size, known)
		}
		sizes[class] = size
	}
	require.Len(t, sizes, len(large.classes), "every class is used")
	for class, size := range sizes {
		back, _ := classOf(size)
		require.Equal(t, class, back, "a buffer goes back to its own class")
	}
}

// What is taken has the length that was asked for, whatever it was before.
func TestLargeBuffersAreTakenAgain(t *testing.T) {
	t.Parallel()
	var p largeBuffers
	for _, odd := range []int{0, 1, largestPooled, largestPooled + 1, 250<<10 + 1, 2 * largestKept} {
		buf := make([]byte, odd)
		p.Put(&buf) // is not kept
	}
	for _, length := range []int{largestPooled + 1, 256 << 10, 256<<10 + 1, 250 << 10, largestKept, largestKept + 1, 4 << 20} {
		for range 3 {
			buf := p.Get(length)
			require.Len(t, *buf, length)
			*buf = (*buf)[:length/2]
			p.Put(buf)
		}
	}
}
