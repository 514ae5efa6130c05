package raftlog

import "github.com/hashicorp/raft"

const (
	// CurrentTerm is raft's key of its term.
	CurrentTerm = currentTerm
	// SealBytes is what a checksum adds to a value.
	SealBytes = sealBytes
)

// File is a log as it is on disk.
type File = file

// OpenFile opens a log without the checks around it.
func OpenFile(cfg Config) (File, error) {
	f, _, err := openFile(cfg)
	return f, err
}

// Checked checks what a stable store has.
func Checked(s raft.StableStore) raft.StableStore { return &checkedStable{s} }
