package node

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/node/raftnet"
	"github.com/rota-scheduler/rota/task"
)

// stayingVoter is a voter of those that stay when another one goes.
type stayingVoter struct {
	nodeID string
	// problem is why nobody can count on it now; "": they can.
	problem string
}

// mayGo refuses that a voter goes if those that stay could not acknowledge anything without it. doing says
// what is to be done, such as "removing n3". force does it all the same. note is what there is to say then.
func mayGo(doing string, stay []stayingVoter, force bool) (note string, err error) {
	if len(stay) == 0 {
		return "", task.Errorf(task.KindConflict, "%s is not possible: it is the only voter, and without it there is no cluster. Give another server a vote first (rota cluster add)", doing)
	}
	need, sound := len(stay)/2+1, 0
	var problems []string
	for _, v := range stay {
		if v.problem == "" {
			sound++
		} else {
			problems = append(problems, v.nodeID+" "+v.problem)
		}
	}
	switch {
	case sound >= need:
		return fewerLosses(len(stay)), nil
	case !force:
		return "", task.Errorf(task.KindConflict,
			"%s would cost the cluster its majority: of the %d voters that stay, %d must answer and be up to date, and %d do (%s). Bring these back first. "+
				"With --force it is done all the same; then nothing is acknowledged until %d of them answer, and if they never do, the cluster is lost",
			doing, len(stay), need, sound, strings.Join(problems, "; "), need)
	}
	return fmt.Sprintf("forced: of the %d voters that stay, %d must answer, and %d do (%s). Until then nothing is acknowledged", len(stay), need, sound, strings.Join(problems, "; ")), nil
}

// fewerLosses says what an even number of voters is worth; "" for an odd one.
func fewerLosses(voters int) string {
	if voters%2 == 1 {
		return ""
	}
	return fmt.Sprintf("%d voters survive the loss of %d, as %d do: use an odd number", voters, (voters-1)/2, voters-1)
}

// staying is the voters that stay if one goes, and how each of them is now.
func (m *membership) staying(ctx context.Context, servers []raft.Server, goes raft.ServerID) []stayingVoter {
	var stay []stayingVoter
	var ids []raft.ServerID
	for _, s := range servers {
		if s.Suffrage == raft.Voter && s.ID != goes {
			stay, ids = append(stay, stayingVoter{nodeID: raftnet.NodeID(s.ID)}), append(ids, s.ID)
		}
	}
	var wg sync.WaitGroup
	for i, id := range ids {
		if id != m.self.id {
			wg.Go(func() { stay[i].problem = m.behind(ctx, id) })
		}
	}
	wg.Wait()
	return stay
}

// behind is why nobody can count on another server now; "": they can.
func (m *membership) behind(ctx context.Context, id raft.ServerID) string {
	if silent := m.silence(id); silent > askTimeout { // a heartbeat that was lost says little
		return fmt.Sprintf("has not answered for %.1f s", silent.Seconds())
	}
	info, err := m.identify(ctx, id)
	applied := m.state.Machine().AppliedIndex()
	switch {
	case err != nil:
		return "does not answer: " + err.Error()
	case info.AppliedIndex+caughtUp < applied:
		return fmt.Sprintf("is %d entries behind", applied-info.AppliedIndex)
	case info.DiskFull:
		return "has a full disk"
	}
	// Voters know the active version. This one was not asked when that rose.
	if err := checkKnows(&info, m.state.Machine().ActiveVersion()); err != nil {
		return "is too old: " + err.Error()
	}
	return ""
}
