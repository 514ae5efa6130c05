// Package sealedfile keeps one small record in a file of its own, so that it is read back
// as it was written or not at all.
//
// # Purpose
//
// Who a server or a worker is, and where its snapshot stands, are files of a few hundred
// bytes of JSON. JSON alone notices few flipped bits: a digit stays a digit, a key that is
// misspelt is passed over, and one in other letters is taken for the same.
//
// # Form
//
//	{"crc32c":"0a1b2c3d","content":{...}}
//
// The checksum is that of the content's bytes. A file must also be, byte for byte, what
// Write makes of the record that was read: nothing unknown, nothing twice, nothing behind it.
//
// # Trade-offs
//
// Versions before this one wrote the content alone. Read takes that form too and says so,
// for its caller to check the record against what else it knows and to write it anew.
package sealedfile
