package node

import "github.com/hashicorp/raft"

// Role is what a server does in Raft, by Raft's name for it: so servers tell each other.
type Role string

// The roles. A server that does not say one that is known counts as stopped.
const (
	RoleFollower  Role = "Follower"
	RoleCandidate Role = "Candidate"
	RoleLeader    Role = "Leader"
	RoleStopped   Role = "Shutdown"
)

// Roles are all roles.
func Roles() []Role { return []Role{RoleFollower, RoleCandidate, RoleLeader, RoleStopped} }

func roleOf(s raft.RaftState) Role { return Role(s.String()) }
