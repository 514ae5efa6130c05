// Package wire is what both ends of a connection must agree on: the one mapping
// between errors and gRPC status codes, the translation between domain types and
// messages, and the settings of connections.
//
// # Flow
//
// A server passes each error of a handler to ToStatus, which adds an ErrorDetail.
// The other end passes the result of a call to FromStatus and gets the same
// *task.Error back. A status without an ErrorDetail did not come from a server of Rota but
// from the transport between them. FromStatus then assumes the worst: that the outcome of
// the request is unknown. Connections made by Dial remove the uncertainty
// where they can: they mark a call that never left this machine.
//
// A list of servers may have names. Lookup says which addresses they have now (lookup.go): a name with several
// addresses is that of several servers, and that of a service has a port for each.
//
// # Trade-offs
//
// A kind is text beside the status code. The code alone is coarser than the kinds, and
// foreign code, such as a proxy, may set a code too. The detail proves that a server of
// Rota answered.
//
// Flow control has fixed windows, 1 MiB towards a client and 64 KiB towards a server,
// instead of estimated ones. The estimator sends extra pings while data flows, and on a LAN one
// fixed window is enough to keep a link full. A server may read messages that are larger
// than its window.
//
// A server counts the requests that are arriving by looking at the HTTP/2 frames that pass
// (arrivals.go, framing.go). gRPC does the same inside and does not show it: it cannot say how
// much of a message has arrived, and it cannot give up a message that does not arrive.
package wire
