package leader

import (
	"math/rand/v2"
	"time"
)

// Pauses between attempts grow from BackoffBase to BackoffMost. A failover takes about half a
// second: the first pauses find the new leader early, and the last ones load a cluster that is down
// with one request a second.
const (
	BackoffBase = 20 * time.Millisecond
	BackoffMost = time.Second
)

// Backoff is the pauses after failures in a row, each twice as long as the one before. Half of a
// pause is random, so that those who failed together do not come back together. The zero value
// begins with the shortest one.
type Backoff struct{ last time.Duration }

// Next is how long to wait after one more failure.
func (b *Backoff) Next() time.Duration {
	b.last = min(BackoffMost, max(BackoffBase, 2*b.last))
	return b.last/2 + rand.N(b.last/2+1)
}

// Reset begins with the shortest pause again.
func (b *Backoff) Reset() { b.last = 0 }
