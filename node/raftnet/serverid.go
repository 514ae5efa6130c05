package raftnet

import (
	"strings"

	"github.com/hashicorp/raft"
)

// ServerID is how a server is called in Raft's configuration: a server that has lost its data
// folder is another one, whatever its node id says.
func ServerID(nodeID, serverID string) raft.ServerID {
	return raft.ServerID(nodeID + "/" + serverID)
}

// SplitServerID is the inverse of ServerID.
func SplitServerID(id raft.ServerID) (nodeID, serverID string) {
	nodeID, serverID, _ = strings.Cut(string(id), "/")
	return nodeID, serverID
}

// NodeID returns the node id of a server in Raft's configuration.
func NodeID(id raft.ServerID) string {
	nodeID, _ := SplitServerID(id)
	return nodeID
}
