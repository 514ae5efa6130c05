package node

import (
	"time"

	"github.com/hashicorp/raft"
)

// steadyFor is how long a server must have been caught up, without a break, before it gets a vote: one that comes and
// goes would make the majority larger and count for nothing.
const steadyFor = 3 * time.Second

// steady is since when servers that are to vote have been caught up. It is for one goroutine, of one leader.
type steady map[raft.ServerID]time.Time

// stayed notes whether a server has caught up, and says whether it has stayed so for long enough.
func (s steady) stayed(id raft.ServerID, caughtUp bool) bool {
	if !caughtUp {
		delete(s, id)
		return false
	}
	since, known := s[id]
	if !known {
		s[id] = time.Now()
	}
	return known && time.Since(since) >= steadyFor
}
