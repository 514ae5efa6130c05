// Package backup is the form of a backup: one file with the state of a cluster at one index of the log.
//
// # Purpose
//
// A server writes it as a stream (package transport), a client keeps it, and a tool reads it without any server: to say
// what is in it, or to make a new cluster of it (package node). Whatever is cut off, changed or put behind it is found.
//
// # Form
//
//	ROTABAK1
//	length of the manifest, 4 bytes, big-endian; the manifest, JSON
//	blocks: length, 4 bytes; so many bytes
//	length 0, 4 bytes
//	SHA-256 of all before
//
// The blocks are one stream of zstd. It holds the state as a leader sends it to a follower (package store), which has a
// length and a checksum of its own. The manifest stands in front, so that a look at it needs no more than the first
// bytes; but only the end of the file says whether it is whole.
//
// # Trade-offs
//
// The server compresses, with the quickest level and one goroutine: the links over which backups travel are slower than that,
// and the file need not be written anew by whoever keeps it. Nothing is encrypted: whoever reads a backup reads every
// payload in it.
package backup
