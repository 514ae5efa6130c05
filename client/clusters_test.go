package client_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// foreign is the answer of a server that does not know all addresses of a client.
var foreign = fault{refused: true, err: task.Errorf(task.KindOtherCluster, "s1:7420 is not known to be of this cluster")}

// One server may have two addresses, or may have moved: an address that a server does not know is no reason to
// refuse.
func TestAddressesThatAServerDoesNotKnowAreAskedForTheirCluster(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"ListJobs", "SubmitStream"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			cluster, c := setup(t, 2)
			cluster.inject(method, foreign)
			if method == "ListJobs" {
				for _, err := range c.List(t.Context(), client.ListOptions{}) {
					require.NoError(t, err)
				}
			} else {
				_, err := c.Submit(t.Context(), client.Request{Spec: task.Spec{Handler: "upper"}})
				require.NoError(t, err)
				cluster.locked(func() { require.Len(t, cluster.jobs, 1) })
			}
			require.Len(t, cluster.called(method), 2)
		})
	}
}

func TestAddressesOfTwoClustersAreRefused(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"ListJobs", "SubmitStream"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			cluster, stop := newCluster(3)
			t.Cleanup(stop)
			cluster.locked(func() {
				cluster.lies = map[int]*rotav1.WatchLeaderResponse{0: {ClusterId: "a"}, 1: {ClusterId: "b"}, 2: {ClusterId: "a"}}
			})
			cluster.inject(method, foreign)
			c := newClient(t, cluster)
			var err error
			if method == "ListJobs" {
				for _, e := range c.List(t.Context(), client.ListOptions{}) {
					err = e
				}
			} else {
				_, err = c.Submit(t.Context(), client.Request{Spec: task.Spec{Handler: "upper"}})
			}
			require.ErrorIs(t, err, task.ErrOtherCluster)
			require.ErrorContains(t, err, "the addresses are those of 2 clusters: give those of one (s0:7420, s2:7420 of cluster a; s1:7420 of cluster b)")
			require.Len(t, cluster.called(method), 1)
		})
	}
}
