package raftnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// Each connection of raft begins with a greeting: who is meant, who speaks, and in which
// cluster.
//
// Raft finds a server by its address alone. A server that has lost its data folder has
// the address of the one that it was, and the others would go on with it as if it was
// that one still: it would vote, and count for what it has forgotten. So any other server
// than the one that is meant does not answer, and nobody is listened to who is not known.
type greeting struct {
	meant, from raft.ServerID
	// cluster is the cluster's id; "": the speaker does not know it yet.
	cluster string
}

const (
	// greetingMagic begins a greeting; three lengths in two bytes and what they say follow.
	greetingMagic = "ROT2"
	maxRaftID     = 1024
)

var errNoGreeting = errors.New("this is no connection of a rota server of this version")

// write sends the greeting, within a timeout.
func (g greeting) write(conn net.Conn, timeout time.Duration) error {
	b := []byte(greetingMagic)
	for _, part := range []string{string(g.meant), string(g.from), g.cluster} {
		if len(part) > maxRaftID {
			return fmt.Errorf("an id of %d bytes, %d are allowed", len(part), maxRaftID)
		}
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(part))), part...)
	}
	if err := conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if _, err := conn.Write(b); err != nil {
		return err
	}
	return conn.SetWriteDeadline(time.Time{})
}

// readGreeting reads a greeting, and not a byte of what follows it.
func readGreeting(conn net.Conn, timeout time.Duration) (g greeting, err error) {
	if err := conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return g, err
	}
	magic := make([]byte, len(greetingMagic))
	if _, err := io.ReadFull(conn, magic); err != nil {
		return g, err
	}
	if string(magic) != greetingMagic {
		return g, errNoGreeting
	}
	var parts [3]string
	for i := range parts {
		if parts[i], err = readPart(conn); err != nil {
			return g, err
		}
	}
	g = greeting{meant: raft.ServerID(parts[0]), from: raft.ServerID(parts[1]), cluster: parts[2]}
	return g, conn.SetReadDeadline(time.Time{})
}

func readPart(conn net.Conn) (string, error) {
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return "", err
	}
	n := binary.BigEndian.Uint16(length[:])
	if n > maxRaftID {
		return "", errNoGreeting
	}
	part := make([]byte, n)
	_, err := io.ReadFull(conn, part)
	return string(part), err
}
