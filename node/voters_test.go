package node

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// The disks of a majority are those of the voters, this server's among them.
func TestALeaderKnowsThatTheDisksOfAMajorityAreFull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		own, n2, n3, n4 := fourServers[0].ID, fourServers[1].ID, fourServers[2].ID, fourServers[3].ID
		var now atomic.Pointer[answers]
		now.Store(&answers{})
		v := &voterWatch{
			self: own, servers: serversOf, clock: &stateClock{}, diskFull: func() bool { return (*now.Load())[own].DiskFull },
			identify: func(ctx context.Context, id raft.ServerID) (PeerInfo, error) { return now.Load().identify(ctx, id) },
			logger:   silent, running: &sync.WaitGroup{},
		}
		ctx, leads := context.WithCancel(t.Context())
		var watching sync.WaitGroup
		watching.Go(func() { v.watch(ctx) })
		full, room := PeerInfo{DiskFull: true}, PeerInfo{}
		for _, c := range []struct {
			say  answers
			want bool
		}{
			{answers{own: full, n2: room, n3: full, n4: room}, false},
			{answers{own: full, n2: room, n3: room, n4: full}, true},
			{answers{own: full, n2: room}, false},
			{answers{own: room, n2: full, n4: full}, true},
		} {
			now.Store(&c.say)
			time.Sleep(votersEvery)
			synctest.Wait()
			require.Equal(t, c.want, v.mostFull(), "%v", c.say)
		}
		leads()
		watching.Wait()
		require.False(t, v.mostFull(), "it says so of this server's leadership only")
	})
}
