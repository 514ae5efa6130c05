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
// Every call goes through one retry helper. It picks a server (the leader if it
// knows one), sends the request, and after a failure tries again elsewhere, with
// growing pauses, until the caller's context ends. The client learns of the leader from
// errors, from answers, and from a background stream to another server. So after a
// failover the next call goes to the new leader at once, and calls that wait on the
// old leader move over.
//
// A request whose answer was lost may have taken effect. The client sends it again only
// if that does no harm: reads, and requests that the servers recognise. For that, Submit
// and Retry make a random request key unless they are given one. A request that
// cannot be sent again fails with task.ErrUnknownOutcome, and so does every
// mutation whose context ends while its outcome is unknown.
//
// A job that does not fit into one request is submitted open and grows by appends. Each
// append names the index it starts at, so that an interrupted submit continues where it
// stopped. Up to eight appends are under way, in their order. Payloads that arrive slowly, as
// those of Map may, go out as they arrive (Request.Linger). The clock then decides where a
// job is cut, so whoever completes the job asks for the cuts. A job that waits for payloads is
// renewed before the servers give it up. A result stream continues after the last message
// that arrived, on any server, and so does a log (Job.Logs).
//
// # Trade-offs
//
// A server refuses an append that leaves a gap. So if one of several appends fails, the client
// sends those after it again, too.
//
// Results share the memory of the message that brought them, which saves a copy
// and an allocation for each. A program that keeps few of many results should copy them.
//
// The SDK checks the servers' promises where it can: a result that comes twice, or
// is missing at the end, is an error, and never hidden.
package client
