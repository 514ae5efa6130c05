package task

import "strings"

// Bounds of what servers say about themselves.
const (
	// MaxNodeID bounds a node id and a server id, bytes. They stand in log lines, tables and
	// metrics.
	MaxNodeID = 64
	// MaxAddr bounds an address, bytes: the longest host name that there is, and a port.
	MaxAddr = 253 + len(":65535")
	// MaxServers bounds the recorded servers of a cluster: nine that vote, which is more than any
	// cluster needs, and those that join or are being replaced meanwhile.
	MaxServers = 16
	// MaxRemovedServers bounds the removed servers that a cluster remembers: each of them may be started again. The
	// oldest are forgotten. A server that has heard of its removal remembers it itself.
	MaxRemovedServers = 128
)

// idChars are the characters of a node id. It must not contain '/': Raft knows a server as
// node id, slash, server id.
const idChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"

// ValidNodeID checks a node id, or the id of a server's data folder.
func ValidNodeID(what, id string) error {
	if id == "" || len(id) > MaxNodeID || strings.Trim(id, idChars) != "" {
		return Errorf(KindInvalid, "malformed %s %q: use 1 to %d letters, digits, dots, dashes and underscores", what, id[:min(len(id), MaxNodeID)], MaxNodeID)
	}
	return nil
}

// ValidAddr checks that an address can be kept and shown, not whether a server is there.
func ValidAddr(what, addr string) error {
	if len(addr) > MaxAddr {
		return Errorf(KindTooLarge, "%s has %d bytes, the limit is %d", what, len(addr), MaxAddr)
	}
	return newest.validName(what, addr, false)
}
