package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/node/raftnet"
)

// Survivor is the data folder of a server whose cluster has lost its majority for good. It is locked, and nothing in it is
// changed but what opening it repairs after a crash.
type Survivor struct {
	node   *Node
	logger *slog.Logger
}

// Survey is what is to be known before a recovery.
type Survey struct {
	ClusterID, NodeID, ServerID string
	// Voters and Others are the node ids of the cluster's servers, this one included.
	Voters, Others []string
	// Applied is the index of the state; Last and LastTerm are those of the last entry of the log. Of several servers that are left,
	// the one with the highest term has most, and with the same term the one with the highest index.
	Applied, Last, LastTerm uint64
	// StateBytes is the size of state.db, which is copied.
	StateBytes int64
}

// OpenSurvivor opens the folder as a start of the server does, and checks it.
func OpenSurvivor(dir string, logger *slog.Logger) (s *Survivor, err error) {
	id, err := readIdentity(dir)
	if err != nil {
		return nil, err
	}
	n := &Node{cfg: Config{DataDir: dir, NodeID: id.NodeID, Logger: logger, Fatal: func(error) {}}}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.fatal = func(err error) { logger.Error("the data folder is not whole", "error", err) }
	if err := n.cfg.setDefaults(); err != nil {
		return nil, err
	}
	if err := n.openFiles(); err != nil {
		n.cancel()
		return nil, errors.Join(err, n.closeFiles())
	}
	return &Survivor{node: n, logger: logger}, nil
}

// Survey says what there is.
func (s *Survivor) Survey() (out Survey, err error) {
	m := s.node.state.Machine()
	out = Survey{ClusterID: m.ClusterID(), NodeID: s.node.id.NodeID, ServerID: s.node.id.ServerID, Applied: m.AppliedIndex(), StateBytes: s.node.state.FileSize()}
	_, out.LastTerm, _ = m.Applied()
	if out.Last, err = s.node.log.LastIndex(); err != nil {
		return out, fmt.Errorf("read the log: %w", err)
	}
	if out.Last > 0 {
		var l raft.Log
		if err := s.node.log.GetLog(out.Last, &l); err != nil {
			return out, fmt.Errorf("read log entry %d: %w", out.Last, err)
		}
		out.LastTerm = l.Term
	}
	if at, ok := s.node.snapshots.Newest(); ok && at.Index > out.Last {
		out.Last, out.LastTerm = at.Index, at.Term
	}
	if out.Last == 0 && out.Applied == 0 {
		return out, errors.New("the data folder is of no cluster: there is nothing to recover; start the server as a new one")
	}
	servers, err := s.servers(&out)
	for _, server := range servers {
		if server.Suffrage == raft.Voter {
			out.Voters = append(out.Voters, raftnet.NodeID(server.ID))
		} else {
			out.Others = append(out.Others, raftnet.NodeID(server.ID))
		}
	}
	return out, err
}

// servers returns the newest configuration that is in the log, or else in the state or in the snapshot.
func (s *Survivor) servers(out *Survey) ([]raft.Server, error) {
	encoded, index := s.node.state.Machine().Configuration()
	var newest raft.Configuration
	if index > 0 {
		newest = raft.DecodeConfiguration(encoded)
	} else if at, ok := s.node.snapshots.Newest(); ok {
		newest = at.Configuration
	}
	err := s.eachEntry(max(index, out.Applied), func(l *raft.Log) error {
		if l.Type == raft.LogConfiguration {
			newest = raft.DecodeConfiguration(l.Data)
		}
		return nil
	})
	return newest.Servers, err
}

// eachEntry calls f with the entries of the log behind an index.
func (s *Survivor) eachEntry(behind uint64, f func(*raft.Log) error) error {
	last, err := s.node.log.LastIndex()
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	for i := behind + 1; i <= last; i++ {
		var l raft.Log
		if err := s.node.log.GetLog(i, &l); err != nil {
			return fmt.Errorf("read log entry %d: %w", i, err)
		}
		if err := f(&l); err != nil {
			return err
		}
	}
	return nil
}

// Recover makes the data folder of a new cluster of what there is. All entries of the log count, also those of which
// this server cannot know whether a majority had them: it takes them for acknowledged rather than lost.
func (s *Survivor) Recover(f *NewFolder) (NewCluster, error) {
	return f.build(source{
		cause: fsm.CauseRecover,
		receive: func(dir string) (string, error) {
			// What replaying the log before has put into memory is in the file then.
			if err := s.node.state.Flush(); err != nil {
				return "", err
			}
			b, err := s.node.state.Backup()
			if err != nil {
				return "", err
			}
			path, _, err := store.Receive(dir, b)
			return path, errors.Join(err, b.Close())
		},
		apply: s.replay,
	})
}

// replay applies the rest of the log.
func (s *Survivor) replay(state *store.State) error {
	m := state.Machine()
	err := s.eachEntry(m.AppliedIndex(), func(l *raft.Log) error {
		if _, err := applyEntry(m, l); err != nil {
			return fmt.Errorf("apply log entry %d: %w", l.Index, err)
		}
		if dirty, _ := m.Pending(); dirty > store.PushBackBytes {
			return state.Flush()
		}
		return nil
	})
	return errors.Join(err, state.Flush())
}

// Close closes the folder.
func (s *Survivor) Close() error {
	s.node.cancel()
	return s.node.closeFiles()
}

// Compacted says what a compaction has done to state.db, bytes.
type Compacted struct{ Before, After int64 }

// Compact writes state.db of a server that is stopped anew, without the pages that are free: bbolt never gives them back.
func Compact(dir string) (c Compacted, err error) {
	id, err := readIdentity(dir)
	if err != nil {
		return c, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	c.Before, c.After, err = store.Compact(dir, store.Identity{NodeID: id.NodeID, ServerID: id.ServerID})
	return c, explainState(dir, err)
}

// readIdentity reads whose a data folder is. It makes nothing.
func readIdentity(dir string) (identity, error) {
	if _, err := os.Stat(filepath.Join(dir, identityFile)); err != nil {
		return identity{}, fmt.Errorf("%s is no data folder of a server: %w", dir, err)
	}
	return loadIdentity(dir, "")
}
