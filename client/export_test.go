package client

import (
	"context"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
)

// Internals that tests need.
const ChunkBytes = chunkBytes

// LeaderAddr is the address of the server that the client believes to be the leader.
func (c *Client) LeaderAddr() string {
	addr, _ := c.leader.get()
	return addr
}

// RandomKey makes a request key for a request that has none.
var RandomKey = randomKey

// WaitAnswered waits under ctx for a submit that has its answer already.
func WaitAnswered(ctx context.Context, resp *rotav1.SubmitResponse) (*rotav1.SubmitResponse, error) {
	call := &streamedCall{answered: make(chan streamedAnswer, 1)}
	call.answered <- streamedAnswer{resp: resp}
	return newSubmitStream(nil, nil).wait(ctx, call)
}

// ServerCount is how many servers the client turns to.
func (c *Client) ServerCount() int { return len(c.finder.Known()) }
