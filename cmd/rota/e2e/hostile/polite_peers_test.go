package hostile

import "testing"

// Without a hostile peer every polite client is served, also by a server that was started
// again.
func TestPoliteClientsAreServed(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.Served(20)
	h.Restart(h.Leader())
	h.Served(20)
}
