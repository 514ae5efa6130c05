// Package raftlog keeps raft's log, term and vote on a server's disk.
//
// # Purpose
//
// What a server has acknowledged, and whom it has voted for, must be there after a crash, exactly as it
// was written, or the server must not go on. raft-wal and raft-boltdb keep it; this package opens them
// (open.go) and adds what neither they nor raft check.
//
// # Flow
//
// Raft writes to a Chain, which has a leader write into each entry which one the state machine sees
// before it (chain.go). Behind a cache, the watched log deletes in chunks that leave no hole, and tells a full
// disk, which is waited for, from a failed one, which ends the server (watched.go). The checked log stores
// a checksum with each entry and checks it with each read (checked.go). Then come the files.
//
// Term and vote have checksums as well (checkedstable.go), and raft waits where there is no space
// for its term (watchedstable.go).
//
// Around raft-wal v0.4.2 there is more. It begins anew behind a received snapshot, where raft leaves a gap, and goes
// on after its disk was full (wal.go); it gives back the space of files that were closed early (walfiles.go);
// what it notes of its files has a checksum (walmeta.go), and a file that was being closed when the server
// crashed is closed at the start (waltail.go).
//
// # Trade-offs
//
// raft-wal is the default: one flush an append instead of two. A log of the other kind is never
// converted: the one that is there has this server's votes, so another one is refused.
//
// The room knows no identity and no state. That a log was made is for the caller to remember (Config.Made):
// a server whose log is gone must not start with an empty one.
package raftlog
