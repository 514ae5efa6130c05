package node

import (
	"errors"

	"github.com/hashicorp/raft"
)

// ConfirmByVerifyLeader confirms a read the way that this package must not: raft says that
// it leads, and that the state machine was given everything up to its AppliedIndex.
func (n *Node) ConfirmByVerifyLeader() error {
	if err := n.raft.VerifyLeader().Error(); err != nil {
		return err
	}
	if n.raft.AppliedIndex() == 0 {
		return errors.New("nothing is applied")
	}
	return nil
}

// RaftState is this server's state in raft.
func (n *Node) RaftState() raft.RaftState { return n.raft.State() }

// DropServer takes a server out of Raft's configuration, and notes it nowhere.
func (n *Node) DropServer(id raft.ServerID) error { return n.raft.RemoveServer(id, 0, 0).Error() }
