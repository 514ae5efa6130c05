package client

// What tests of behaviour need to know of the inside.
const ChunkBytes = chunkBytes

var Backoff = backoff

// LeaderAddr is the server that the client takes for the leader.
func (c *Client) LeaderAddr() string {
	addr, _ := c.leader.get()
	return addr
}

// RandomKey makes a request key where a request has none.
var RandomKey = randomKey
