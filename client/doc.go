// Package client is the Go SDK of Rota: submit jobs, wait for them, collect their
// results, whichever server is alive and whoever leads.
//
//	c, err := client.New(client.Config{Addrs: []string{"127.0.0.1:7420", "127.0.0.1:7430", "127.0.0.1:7440"}})
//	job, err := c.Submit(ctx, client.Request{
//		Spec:     task.Spec{Handler: "resize"},
//		Payloads: client.Strings("1.png", "2.png"),
//	})
//	for result, err := range job.AsCompleted(ctx) { ... }
//
// # Flow
//
// Every call goes through one retry helper. It picks a server, the leader where one
// is known, sends the request, and tries again elsewhere after a failure, with
// growing pauses, until the caller's context ends. The leader is learned from
// errors, from answers, and from a background stream to another server, so that
// after a failover the next call goes to the new leader at once, and calls that
// wait on the old one are moved over.
//
// A request whose answer was lost may have taken effect. It is sent again only
// where that does no harm: reads, and requests that the servers recognise. Submit
// and Retry make a random request key for that unless they are given one. What
// cannot be sent again fails with task.ErrUnknownOutcome, and so does every
// mutation whose context ends while its outcome is not known.
//
// A job that does not fit into one request is submitted open and grows by appends,
// each of which names the index it starts at, so that an interrupted submit goes on
// where it stopped. Payloads that come in their own time, as those of Map, go out as
// they come (Request.Linger); where a job was cut is then up to the clock, so whoever
// completes it asks for the cuts, and a job that waits for payloads is renewed before
// the servers give it up. Result streams go on behind the last message that arrived, on
// any server.
//
// # Trade-offs
//
// Up to eight appends are under way, in their order, since a server refuses a gap. When
// one of them fails, those behind it are sent again.
//
// Results share the memory of the message that brought them, which spares a copy
// and an allocation for each; a program that keeps few of many should copy them.
//
// The SDK checks the servers' promises where it can: a result that comes twice, or
// is missing at the end, is an error, never smoothed over.
package client
