// Package disk is a disk that loses power: a FUSE file system over a folder that knows
// what was written and not yet synced, and can take it back.
//
// # Flow
//
// Writes go through to the folder below at once, and what they replace is kept until the
// file is synced; so it is with names until their folder is synced. PowerLoss takes back,
// newest first, whatever is still kept: all of it, or with torn, a random half of the
// 512-byte sectors, as a disk does that was busy and writes in an order of its own. The process that wrote must be
// dead by then. Besides, the disk can be full, fail, be slow, or hang. Damage to data that nobody writes is done to
// the files from below (damage.go).
//
// # Why
//
// Killing a process proves nothing about its fsyncs: what it wrote is in the kernel's
// cache and outlives it. With every fsync of the log removed, kill -9 of all servers loses
// nothing, and the loss of their power loses a quarter of what was acknowledged.
//
// # What is modelled
//
// A file's fsync makes its data, its length and the name it was created under durable, as
// on ext4. Renames and removals are durable when their folder is synced. New folders are
// durable at once. A write that was synced is never lost: this disk does not lie.
//
// What a process has mapped shows what was written, as on any disk: the kernel is told to
// keep what it knows of a file until it is changed from below (handle.opened).
//
// # Trade-offs
//
// Nothing is ever synced for real: it is processes that lose their power here, not this
// machine, so the disk is faster than a real one. Calls that could not be taken back
// (fallocate, copy_file_range) are refused as not supported, and programs fall back. The
// harness itself must not touch the mount while it holds the disk, or it would wait for
// itself; Folder is the same files from below.
package disk
