//go:build race

package fsm

import (
	"bytes"
	"runtime"
	"sync"
)

// inTransaction is the goroutines that are in a transaction of a file, by their numbers.
var inTransaction sync.Map

// goroutine is the number of this one, from the first line of its stack.
func goroutine() string {
	var line [64]byte
	fields := bytes.Fields(line[:runtime.Stack(line[:], false)])
	return string(fields[1])
}

func checkOutside(wrong string) {
	if _, inside := inTransaction.Load(goroutine()); inside {
		panic("lock order: " + wrong)
	}
}

func enterTransaction() (leave func()) {
	id := goroutine()
	inTransaction.Store(id, struct{}{})
	return func() { inTransaction.Delete(id) }
}
