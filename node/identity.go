package node

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/internal/dirlock"
	"github.com/rota-scheduler/rota/internal/sealedfile"
	"github.com/rota-scheduler/rota/node/raftlog"
	"github.com/rota-scheduler/rota/node/raftnet"
)

const (
	identityFile = "node.json"
	lockFile     = "LOCK"
	// serverIDBytes is how many random bytes a server id has.
	serverIDBytes = 8
)

// identity is who a server is. The server id is made together with the data folder: a server that has lost
// its folder is another server, whatever its node id says, and must not vote under the old identity.
type identity struct {
	NodeID   string `json:"node_id"`
	ServerID string `json:"server_id"`
	// HasLog says that the log was made. If the log is gone later, the server has forgotten its votes and what
	// it has acknowledged, and must not go on under this identity.
	HasLog bool `json:"has_log"`
	// LogStore is the kind of store that keeps the log; empty before the log is made.
	LogStore string `json:"log_store,omitempty"`
	// Removed says that the server was removed from its cluster: it must not start again.
	Removed bool `json:"removed,omitempty"`
}

// raftID is the identity under which the server stands in Raft's configuration.
func (id identity) raftID() raft.ServerID { return raftnet.ServerID(id.NodeID, id.ServerID) }

// lockDir makes the data folder, and locks it for this process.
func lockDir(dir string) (*os.File, error) {
	f, err := dirlock.Take(dir, lockFile)
	switch {
	case errors.Is(err, dirlock.ErrTaken):
		return nil, fmt.Errorf("data folder %s is in use by another process: stop that one first, or use another folder", dir)
	case err != nil:
		return nil, fmt.Errorf("make and lock data folder %s: %w", dir, err)
	}
	return f, nil
}

// loadIdentity reads the folder's identity, or makes one for an empty folder. With "" it takes whatever node's it is.
func loadIdentity(dir, nodeID string) (identity, error) {
	path := filepath.Join(dir, identityFile)
	id, sealed, err := sealedfile.Read[identity](path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return makeIdentity(dir, nodeID)
	case errors.Is(err, sealedfile.ErrDamaged), err == nil && !id.plausible():
		return id, fmt.Errorf("%s is corrupt: restore it, or move the data folder away and let the server join anew", path)
	case err != nil:
		return id, err
	case nodeID != "" && id.NodeID != nodeID:
		return id, fmt.Errorf("data folder %s belongs to node %s, not to %s: start it with --node-id %s, or give this server a folder of its own", dir, id.NodeID, nodeID, id.NodeID)
	case id.Removed:
		return id, errDeparted(dir, id)
	case !sealed:
		return id, writeIdentity(dir, id)
	}
	return id, nil
}

// plausible says whether a server could have made this identity: files from old builds have no checksum.
func (id identity) plausible() bool {
	raw, err := hex.DecodeString(id.ServerID)
	return id.NodeID != "" && err == nil && len(raw) == serverIDBytes && (id.LogStore == "" || raftlog.FileName(id.LogStore) != "")
}

func makeIdentity(dir, nodeID string) (identity, error) {
	for _, name := range []string{raftlog.FileName(raftlog.Bolt), raftlog.FileName(raftlog.WAL), store.FileName} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return identity{}, fmt.Errorf("data folder %s has a %s but no %s: it is not whole; restore the file, or move the folder away and let the server join anew", dir, name, identityFile)
		}
	}
	serverID, err := newID()
	if err != nil {
		return identity{}, err
	}
	id := identity{NodeID: nodeID, ServerID: serverID}
	return id, writeIdentity(dir, id)
}

// newID makes a random id.
func newID() (string, error) {
	raw := make([]byte, serverIDBytes)
	if _, err := rand.Read(raw); err != nil {
		return "", err
	}
	return hex.EncodeToString(raw), nil
}

// writeIdentity replaces the folder's identity as a whole.
func writeIdentity(dir string, id identity) error {
	return sealedfile.Write(filepath.Join(dir, identityFile), id)
}
