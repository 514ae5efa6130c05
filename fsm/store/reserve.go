package store

import (
	"errors"
	"math"
	"syscall"

	bolt "go.etcd.io/bbolt"
)

const (
	// reservedSpace is how much address space is reserved for state.db, bytes. It is not
	// memory: pages that are not touched cost nothing, and no part of them is promised. Where
	// the file outgrows it, it is mapped anew, for which the flush waits for all readers and
	// new readers, of which Apply is one, wait behind it. A process has 128 TiB of it, and tests
	// have many files.
	reservedSpace = 256 << 30
	// leastReserved is what is not halved any more, bytes: a file grows to that in a day.
	leastReserved = 1 << 30
	// limitShare is which part of the address space of a process that has little is reserved.
	limitShare = 8
)

// addressSpace is how much address space to reserve.
func addressSpace() int {
	var space uint64 = min(reservedSpace, math.MaxInt/4) // a smaller one on 32 bits
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_AS, &limit) == nil {
		space = min(space, uint64(limit.Cur)/limitShare) //nolint:unconvert // Some systems have another type.
	}
	return int(space)
}

// openReserved opens a file for writing, with as much address space as there is.
func openReserved(path string) (*bolt.DB, error) {
	options := boltOptions()
	for {
		b, err := bolt.Open(path, 0o600, options)
		if !errors.Is(err, syscall.ENOMEM) || options.InitialMmapSize < leastReserved {
			return b, err
		}
		options.InitialMmapSize /= 2
	}
}
