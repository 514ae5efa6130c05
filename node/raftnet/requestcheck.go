package raftnet

import (
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm"
)

// errEntries refuses entries that no leader of this cluster sends. Written to the log they
// would be applied by this server at each start.
var errEntries = errors.New("entries that no leader sends")

// checkRequest refuses what raft is not to see: messages of servers that are not known, and entries
// that could not be applied.
func (a *admission) checkRequest(rpc raft.RPC) error {
	m, ok := rpc.Command.(raft.WithRPCHeader)
	if !ok {
		return errNoMessage
	}
	from := raft.ServerID(m.GetRPCHeader().ID)
	err := a.checkSender(from)
	if err == nil {
		err = checkContent(rpc.Command)
	}
	if err != nil && !errors.Is(err, errNotOpen) {
		a.refuse(NodeID(from), from, err)
	}
	return err
}

// refuseRPC answers a message that raft must not see. A state that follows it is read to its end first. Otherwise
// its bytes would be read as the next message.
func refuseRPC(rpc raft.RPC, err error) {
	if rpc.Reader == nil {
		rpc.Respond(nil, err)
		return
	}
	go func() {
		// It ends with the connection at the latest, which the transport closes with itself.
		_, _ = io.Copy(io.Discard, rpc.Reader)
		rpc.Respond(nil, err)
	}()
}

func checkContent(command any) error {
	switch r := command.(type) {
	case *raft.AppendEntriesRequest:
		return checkEntries(r)
	case *raft.InstallSnapshotRequest:
		return checkSnapshot(r)
	case *raft.RequestVoteRequest:
		return checkCandidate(r.Term, r.LastLogTerm)
	case *raft.RequestPreVoteRequest:
		return checkCandidate(r.Term, r.LastLogTerm)
	}
	return nil
}

// checkCandidate refuses a candidate whose log is said to be of a term that has not begun: it would count as further
// ahead than all others.
func checkCandidate(term, lastTerm uint64) error {
	if lastTerm > term {
		return fmt.Errorf("a candidate of term %d whose log ends in term %d", term, lastTerm)
	}
	return nil
}

// checkEntries checks that entries follow each other, in terms that have begun, and that each
// can be read. What a newer build has written is left alone: raft stores it, and this server
// stops at it and says so.
func checkEntries(r *raft.AppendEntriesRequest) error {
	index, term := r.PrevLogEntry, r.PrevLogTerm
	for _, e := range r.Entries {
		switch {
		case e == nil || e.Index != index+1 || e.Index == 0:
			return fmt.Errorf("%w: entry %d is followed by none with the next index", errEntries, index)
		case e.Term < term || e.Term > r.Term:
			return fmt.Errorf("%w: entry %d has term %d, in a message of term %d behind an entry of term %d", errEntries, e.Index, e.Term, r.Term, term)
		}
		if err := checkEntry(e); err != nil {
			return fmt.Errorf("%w: entry %d: %w", errEntries, e.Index, err)
		}
		index, term = e.Index, e.Term
	}
	return nil
}

func checkEntry(e *raft.Log) error {
	switch e.Type {
	case raft.LogNoop, raft.LogBarrier:
		return nil
	case raft.LogConfiguration:
		return checkConfiguration(e.Data)
	case raft.LogCommand:
		return fsm.CheckEntry(e.Data)
	}
	return fmt.Errorf("it is of type %d", e.Type)
}

// checkSnapshot checks what raft takes over from a snapshot before its content is checked.
func checkSnapshot(r *raft.InstallSnapshotRequest) error {
	if r.LastLogTerm > r.Term {
		return fmt.Errorf("a snapshot of term %d in a message of term %d", r.LastLogTerm, r.Term)
	}
	if r.SnapshotVersion < 1 {
		return fmt.Errorf("a snapshot of version %d", r.SnapshotVersion)
	}
	return checkConfiguration(r.Configuration)
}

// checkConfiguration checks a configuration. Raft panics on one that it cannot decode.
func checkConfiguration(data []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a configuration that cannot be read: %v", p)
		}
	}()
	for _, s := range raft.DecodeConfiguration(data).Servers {
		if s.Suffrage == raft.Voter && s.ID != "" && s.Address != "" {
			return nil
		}
	}
	return errors.New("a configuration without a voter")
}
