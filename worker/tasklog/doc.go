// Package tasklog keeps what commands print, for those who read it while they run or after that.
//
// # Flow
//
//	log.go     the log of one attempt: standard output and standard error, in the order in which the worker
//	           has read them
//	block.go   a log is a sequence of blocks of 64 KiB, and a block one of records
//	store.go   all logs of a worker, the disk space that they share, and who has to go
//	writer.go  full blocks go to the disk
//	reader.go  a reader, who has a place of its own and goes at its own pace
//	begin.go   where a reader begins who wants the last lines, or what is not older than some time
//
// A command's pipes are read into the open block of its log. A full block goes to a queue, and from there to
// the disk. All logs of a worker are in one file, which has no name: nothing is left behind, however the
// worker ends. A log that has used up its share drops its oldest block for each new one.
//
// # Bounds
//
// The log of an attempt has at most Config.PerTask bytes, and all together at most Config.Total. Each running
// log is sure of four blocks. What is left belongs to whoever needs it first. The logs of attempts that have
// ended take what running ones do not need; the oldest of them go first. Short logs of ended attempts stay in
// memory, 32 MiB of them. At most 64 blocks wait for the disk.
//
// # Trade-offs
//
//   - Nothing here waits for a reader, and nothing that a command prints waits for the disk. A reader that is
//     too slow, and a disk that is too slow, full or broken, lose whole blocks. The reader is told how many
//     bytes of each stream are missing.
//   - A reader asks for bytes by their place in the two streams, so it can go on anywhere after its connection
//     was lost. Finding that place costs reading one block.
//   - Most commands end before their first block is full. They cost some memory and no system call.
//   - The file keeps the size that it once had until the worker ends; at most Config.Total.
package tasklog
