// Package access decides who may make which call.
//
// # Purpose
//
// It finds out who asks, compares that with the rule of the call, and refuses, counts and logs what is not allowed. It
// is the only place that does so, for gRPC and for HTTP.
//
// # Flow
//
// The rule of a call is the option (rota.v1.access) beside its rpc. RulesOf collects the rules of all services that a
// server has, and fails if a call has none (rules.go). A Guard has the interceptors of a gRPC server. It identifies the
// caller: by a token in the header "authorization", which decides alone; else by the certificate of the connection; else it
// is nobody (guard.go). Tokens are looked up in this server's own copy of the state. One that is not known there is
// looked up again once that copy is as fresh as the leader's (tokens.go). Credentials may be for some queues only: the
// queue is in the request, or is that of the job in the request (call.go).
//
// A server that forwards a call says for whom (forward.go). Only a connection with the certificate of a server is
// believed. Calls that only servers may make are decided by that certificate alone.
//
// A stream lives long. The guard ends it when its token is revoked or expires (streams.go).
//
// # Trade-offs
//
// There is no Guard where connections are in plain text, because nobody could be told from anybody else there. Such
// servers serve their own machine.
//
// Decisions are made where a request arrives, and again where it is forwarded to, not when its entry is applied. An entry
// that is on its way while its token is revoked still takes effect.
//
// Roles are fixed. Most clusters need no more, and one line describes each of them.
package access
