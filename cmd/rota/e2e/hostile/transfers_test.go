package hostile

import (
	"testing"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
)

// A client asks every server for another leader, again and again. Each leader once lost its place as soon as
// it led.
func TestLeadersServeThoughOthersAreAskedFor(t *testing.T) {
	t.Parallel()
	h := start(t)
	for i := range servers {
		cl := rotav1.NewClusterServiceClient(h.Dial(i))
		for range 4 {
			go func() {
				for t.Context().Err() == nil {
					_, _ = cl.TransferLeader(t.Context(), &rotav1.TransferLeaderRequest{}) // mostly refused
				}
			}()
		}
	}
	h.Served(100)
}
