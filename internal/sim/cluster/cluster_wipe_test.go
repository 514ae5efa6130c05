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

// A write is on the disks of two servers. One of the two is down, and the other one loses its disk. The third must
// not become leader with the vote of a server that has forgotten the write: the first one still has it.
func TestAServerThatLostItsDiskDoesNotVoteAsTheOneItWas(t *testing.T) {
	t.Parallel()
	dir := memoryDir(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		c := New(Config{Servers: 3, Dir: dir, Seed: 1})
		require.NoError(t, c.StartAll())
		first, err := c.WaitLeader(ctx)
		require.NoError(t, err)
		var others []*Server
		for _, s := range c.Servers {
			if s != first {
				others = append(others, s)
			}
		}
		wiped, behind := others[0], others[1]

		c.Net.CutOff([]string{behind.Name}, c.Names())
		raw, err := fsm.EncodeSpec(&task.Spec{Handler: "none"})
		require.NoError(t, err)
		res, err := first.Node().Propose(ctx, &logpb.Op{Op: &logpb.Op_Submit{Submit: &logpb.Submit{Spec: raw, Tasks: &logpb.Tasks{Count: 1}}}})
		require.NoError(t, err)
		require.NoError(t, first.Crash())
		require.NoError(t, wiped.Crash())
		wiped.Wipe()
		c.Net.Heal()
		require.NoError(t, wiped.Start())
		for range 1000 {
			require.Nil(t, c.Leader(), "a leader without the write")
			time.Sleep(10 * time.Millisecond)
		}

		require.NoError(t, first.Start())
		_, err = c.WaitLeader(ctx)
		require.NoError(t, err)
		for _, s := range c.Servers {
			require.NoError(t, s.Node().WaitApplied(ctx, res.Index))
			_, err := s.Node().State().Job(res.Job)
			require.NoError(t, err, s.Name)
		}
		for voters := 0; voters < 3; {
			require.NoError(t, sleep(ctx, 10*time.Millisecond), "it joins as a new one")
			servers, err := first.Node().Servers()
			require.NoError(t, err)
			voters = 0
			for _, s := range servers {
				if s.ID == wiped.Node().Self().RaftID() || s.ID == first.Node().Self().RaftID() || s.ID == behind.Node().Self().RaftID() {
					voters++
				}
			}
		}
		require.NoError(t, c.Close())
		require.NoError(t, c.Fatal())
	})
}
