// Package loglimit keeps what others cause from filling the log.
//
// # Purpose
//
// A worker that comes or is lost is worth a line. One that comes ten thousand times is not worth ten
// thousand, and anybody who reaches a port can connect as often as they like.
//
// # Flow
//
// Of each kind of line, a minute shows the first Most. What comes beyond that is counted, and each
// further minute has one line with the count, until one had less.
//
// # Trade-offs
//
// In a flood, lines about honest peers are among those that are only counted: who they are is what the
// lists of workers say.
package loglimit
