// Package requestid follows a request through the logs of all servers that it reaches.
//
// # Purpose
//
// A client gives each of its operations an id. It goes with every attempt, and with the request that a server forwards to the
// leader. Lines of the log that a request causes have it, as far as they are written with the context of the request, and so
// have errors that people may want to look up there.
//
// # Flow
//
// With puts an id into a context, and From reads it. Package wire sends it as metadata. Handler adds it to the lines of a log, with the
// job that the request is about, and hides what must not be in a log.
//
// # Trade-offs
//
// An id comes from outside, so it is bounded, and has few characters: it must not forge lines. It says nothing about who
// asks, and nothing is decided by it.
package requestid
