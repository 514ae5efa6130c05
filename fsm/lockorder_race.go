//go:build race

package fsm

import (
	"bytes"
	"runtime"
	"sync"
	"sync/atomic"
)

// inTransaction is the goroutines that are in a transaction of a file, by their numbers.
var inTransaction sync.Map

// transactions counts them: to find out which goroutine this is costs more than most of what the
// lock is held for, and mostly nobody is in a transaction.
var transactions atomic.Int64

// goroutine is the number of this one, from the first line of its stack.
func goroutine() string {
	var line [64]byte
	fields := bytes.Fields(line[:runtime.Stack(line[:], false)])
	return string(fields[1])
}

func checkOutside(wrong string) {
	if transactions.Load() == 0 {
		return
	}
	if _, inside := inTransaction.Load(goroutine()); inside {
		panic("lock order: " + wrong)
	}
}

func enterTransaction() (leave func()) {
	id := goroutine()
	inTransaction.Store(id, struct{}{})
	transactions.Add(1)
	return func() {
		transactions.Add(-1)
		inTransaction.Delete(id)
	}
}
