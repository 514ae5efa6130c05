// Package wire is what both ends of a connection must agree on: the one mapping
// between errors and gRPC status codes, the translation of domain types to their
// messages, and the settings of connections.
//
// # Flow
//
// A server hands each error of a handler to ToStatus, which adds an ErrorDetail.
// The other end hands what a call returned to FromStatus and gets the same
// *task.Error back. What has no ErrorDetail did not come from a server of Rota but
// from the transport between, and FromStatus assumes the worst of it: that nobody
// knows what became of the request. Connections made by Dial take the uncertainty
// away where they can: a call that never left this machine is marked as such.
//
// # Trade-offs
//
// A kind is carried as text beside the status code. The code alone is coarser than
// the kinds, and code that is not ours, such as a proxy, may set one; the detail
// is proof that a server of Rota answered.
//
// Windows of flow control are fixed, 1 MiB towards a client and 64 KiB towards a server,
// instead of estimated: the estimator sends extra pings while data flows, and on a LAN one
// fixed window is enough to keep a link full. A message that a server reads may be larger
// than its window.
//
// A server keeps account of the requests that are on their way to it by looking at the frames
// of HTTP/2 that pass (arrivals.go, framing.go). That repeats what gRPC does inside and does
// not show: it cannot say how much of a message has come, nor give one up that does not.
package wire
