package fsm

import "sync"

// Lock order: machine, then file. Apply asks the file (History) with the machine locked, so
// whoever is in a transaction of the file must not wait for the machine: a writer that waits
// for that transaction makes Apply wait behind it, and all three stand still for good. Nor may
// one transaction be opened within another, for the same reason.
//
// What runs in a transaction is a function that has no machine; what depends on the machine is
// sorted out behind it. Builds with the race detector check both, wherever they run.

// machineLock is the lock of a machine.
type machineLock struct{ sync.RWMutex }

// Lock locks it for writing.
func (l *machineLock) Lock() {
	checkOutside("the machine is locked within a transaction of the file")
	l.RWMutex.Lock()
}

// RLock locks it for reading.
func (l *machineLock) RLock() {
	checkOutside("the machine is locked within a transaction of the file")
	l.RWMutex.RLock()
}

// InTransaction runs f, which is what is done in a transaction of the file.
func InTransaction(f func() error) error {
	defer enterTransaction()()
	return f()
}

// OpensTransaction says that this goroutine is about to open a transaction of the file.
func OpensTransaction() {
	checkOutside("a transaction of the file is opened within another")
}
