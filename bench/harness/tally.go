package harness

import (
	"bytes"
	"fmt"
	"sync"
)

// Tally checks the results of a run: each task's own, and each there. It is safe for
// use by several goroutines.
type Tally struct {
	load *Load
	// once: a result that comes twice is an error.
	once bool

	mu         sync.Mutex
	seen       []bool
	count      int
	duplicates int
	done       chan struct{}
}

// NewTally returns a tally of the load. once says that the system promises each result
// once only.
func NewTally(load *Load, once bool) *Tally {
	t := &Tally{load: load, once: once, seen: make([]bool, load.Tasks), done: make(chan struct{})}
	if load.Tasks == 0 {
		close(t.done)
	}
	return t
}

// Add takes the result of task i.
func (t *Tally) Add(i int, result []byte) error {
	if i < 0 || i >= len(t.seen) {
		return fmt.Errorf("a result of task %d came, but there are %d tasks", i, len(t.seen))
	}
	if want := Work(t.load.Payload(i)); !bytes.Equal(result, want) {
		return fmt.Errorf("the result of task %d has %d bytes that are not the right %d", i, len(result), len(want))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seen[i] {
		t.duplicates++
		if t.once {
			return fmt.Errorf("the result of task %d came twice", i)
		}
		return nil
	}
	t.seen[i] = true
	t.count++
	if t.count == len(t.seen) {
		close(t.done)
	}
	return nil
}

// Done is closed when every result has come.
func (t *Tally) Done() <-chan struct{} { return t.done }

// Count is how many tasks have their result.
func (t *Tally) Count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}

// Duplicates is how many results came once more.
func (t *Tally) Duplicates() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.duplicates
}

// Complete returns what is missing.
func (t *Tally) Complete() error {
	if n := t.Count(); n != len(t.seen) {
		return fmt.Errorf("%d of %d results came", n, len(t.seen))
	}
	return nil
}
