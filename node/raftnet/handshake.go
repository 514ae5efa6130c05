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

// Each connection of raft begins with a handshake: who is meant, who speaks, and in which
// cluster.
//
// Raft finds a server by its address alone. A server that has lost its data folder still has the address that it
// had, and the others would treat it as the same server: it would vote, and count as having entries that it has
// lost. So only the server that is meant answers, and a server listens only to servers that it knows.
type handshake struct {
	meant, from raft.ServerID
	// cluster is the cluster's id; "": the speaker does not know it yet.
	cluster string
}

const (
	// handshakeMagic begins a handshake. Three strings follow, each after its length in two bytes.
	handshakeMagic = "ROT2"
	maxRaftID      = 1024
)

var errNoHandshake = errors.New("this is no connection of a rota server of this version")

// write sends the handshake, within a timeout.
func (h handshake) write(conn net.Conn, timeout time.Duration) error {
	b := []byte(handshakeMagic)
	for _, part := range []string{string(h.meant), string(h.from), h.cluster} {
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

// readHandshake reads a handshake, and not a byte of what follows it.
func readHandshake(conn net.Conn, timeout time.Duration) (h handshake, err error) {
	if err := conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return h, err
	}
	magic := make([]byte, len(handshakeMagic))
	if _, err := io.ReadFull(conn, magic); err != nil {
		return h, err
	}
	if string(magic) != handshakeMagic {
		return h, errNoHandshake
	}
	var parts [3]string
	for i := range parts {
		if parts[i], err = readPart(conn); err != nil {
			return h, err
		}
	}
	h = handshake{meant: raft.ServerID(parts[0]), from: raft.ServerID(parts[1]), cluster: parts[2]}
	return h, conn.SetReadDeadline(time.Time{})
}

func readPart(conn net.Conn) (string, error) {
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return "", err
	}
	n := binary.BigEndian.Uint16(length[:])
	if n > maxRaftID {
		return "", errNoHandshake
	}
	part := make([]byte, n)
	_, err := io.ReadFull(conn, part)
	return string(part), err
}
