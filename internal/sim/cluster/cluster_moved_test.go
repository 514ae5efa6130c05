//go:build !race

// Raft v1.7.3 replaces the address of a peer under a lock and reads its ID without that lock (updateLastAppended). The ID
// stays the same, so nothing can go wrong, but the race detector would fail every test that runs beside this one, in which
// messages reach servers before their addresses are recorded. make full runs it.

package cluster

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// All servers end at once, and come back at other addresses, or at each other's. They find each other, and nothing is
// lost that was acknowledged before.
func TestServersThatAllMovedGoOn(t *testing.T) {
	t.Parallel()
	for name, move := range map[string]func(round int, s []*Server){
		"to new addresses": func(round int, s []*Server) {
			for _, m := range s {
				m.Addr = m.Name + "-" + string(rune('a'+round))
			}
		},
		"to each other's addresses": func(_ int, s []*Server) {
			first := s[0].Addr
			for i := range s[1:] {
				s[i].Addr = s[i+1].Addr
			}
			s[len(s)-1].Addr = first
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, servers := range []int{3, 5} {
				dir := memoryDir(t)
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
					defer cancel()
					c := New(Config{Servers: servers, Dir: dir, Seed: 1})
					require.NoError(t, c.StartAll())
					raw, err := fsm.EncodeSpec(&task.Spec{Handler: "none"})
					require.NoError(t, err)
					for round := range 4 {
						leader, err := c.WaitLeader(ctx)
						require.NoError(t, err, "round %d of %d servers", round, servers)
						res, err := leader.Node().Propose(ctx, &logpb.Op{Op: &logpb.Op_Submit{Submit: &logpb.Submit{Spec: raw, Tasks: &logpb.Tasks{Count: 1}}}})
						require.NoError(t, err)
						for _, s := range c.Servers {
							for s.Node().Self().Problem != "" || s.Node().WaitApplied(ctx, res.Index) != nil || !recordedRight(s, c.Servers) {
								require.NoError(t, sleep(ctx, 100*time.Millisecond))
							}
						}
						for _, s := range c.Servers {
							require.NoError(t, s.Crash())
						}
						move(round, c.Servers)
						require.NoError(t, c.StartAll())
					}
					require.NoError(t, c.Close())
					require.NoError(t, c.Fatal())
				})
			}
		})
	}
}

// recordedRight says whether a server has all servers recorded, and in Raft's configuration, where they are.
func recordedRight(s *Server, all []*Server) bool {
	addrs := map[string]string{}
	for _, m := range all {
		addrs[m.Name] = m.Addr
	}
	for _, r := range s.Node().State().Machine().Servers() {
		if addrs[r.NodeId] != r.Addr {
			return false
		}
		delete(addrs, r.NodeId)
	}
	configured, err := s.Node().Servers()
	if err != nil || len(configured) != len(all) {
		return false
	}
	for _, m := range configured {
		if i := indexOf(all, string(m.ID)); i < 0 || string(m.Address) != all[i].Addr {
			return false
		}
	}
	return len(addrs) == 0
}

// indexOf is the place of the server with a raft id.
func indexOf(all []*Server, raftID string) int {
	for i, s := range all {
		if string(s.Node().Self().RaftID()) == raftID {
			return i
		}
	}
	return -1
}
