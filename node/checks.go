package node

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm/store"
)

// notWhole says what to do if files do not belong together.
const notWhole = "the data folder is not whole; restore it, or move it away and let the server join anew"

// explainState adds to an error about the state.db of a data folder what to do.
func explainState(dir string, err error) error {
	if errors.Is(err, store.ErrCorrupt) {
		return fmt.Errorf("%w\nNothing was changed. Move %s away: the server rebuilds it from its log where that is whole, and says so where it is not", err, filepath.Join(dir, store.FileName))
	}
	return err
}

// startCheck checks the files of a data folder against each other before raft starts.
type startCheck struct {
	log       raft.LogStore
	state     appliedState
	snapshots *store.Snapshots
	logger    *slog.Logger
}

// run checks state.db against the log and the newest snapshot, and brings it up to that snapshot: raft
// begins to apply entries behind the snapshot, whatever state.db has.
func (c *startCheck) run() error {
	if healed, err := c.snapshots.Heal(); err != nil {
		return fmt.Errorf("restore the received snapshot: %w", err)
	} else if healed {
		c.logger.Info("state.db was restored from a received snapshot")
	}
	first, err1 := c.log.FirstIndex()
	last, err2 := c.log.LastIndex()
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	snapshot, hasSnapshot := c.snapshots.Newest()
	snapIndex, stateIndex := snapshot.Index, snapshot.StateIndex
	applied, term, _ := c.state.Machine().Applied()
	if hasSnapshot && applied < stateIndex {
		if err := c.replay(applied, first, snapIndex); err != nil {
			return err
		}
		applied, term, _ = c.state.Machine().Applied()
	}
	if hasSnapshot {
		if err := c.checkSnapshot(snapshot); err != nil {
			return err
		}
		if err := c.snapshots.Seal(); err != nil {
			return err
		}
	}
	switch {
	case !hasSnapshot && last > 0 && first > applied+1:
		return fmt.Errorf("state.db has index %d, the log begins at %d, and there is no snapshot: the data folder is not whole; move it away and let the server join anew", applied, first)
	case applied > max(last, snapIndex):
		return fmt.Errorf("state.db has index %d, log and snapshot end at %d: the log was lost or is older; restore it, or move the data folder away and let the server join anew", applied, max(last, snapIndex))
	case applied >= first && applied <= last && applied > 0:
		var l raft.Log
		err := c.log.GetLog(applied, &l)
		if errors.Is(err, raft.ErrLogNotFound) && applied <= snapIndex {
			// An installed snapshot leaves a gap between the log before and after it.
			return nil
		}
		if err != nil {
			return fmt.Errorf("read log entry %d: %w", applied, err)
		}
		if l.Term != term {
			return fmt.Errorf("state.db has index %d of term %d, the log has it of term %d: they do not belong together; move the data folder away and let the server join anew", applied, term, l.Term)
		}
	}
	return nil
}

// replay applies the entries that the newest snapshot covers and state.db lacks, if the log still has them.
// All of them were committed, because a snapshot covers only committed entries.
func (c *startCheck) replay(applied, first, to uint64) error {
	tooOld := func(missing uint64) error {
		return fmt.Errorf("state.db has index %d, the newest snapshot needs %d, and the log has no entry %d any more: state.db is older than it may be; restore it, or move the data folder away and let the server join anew", applied, to, missing)
	}
	if first == 0 || first > applied+1 {
		return tooOld(applied + 1)
	}
	c.logger.Info("state.db is behind the newest snapshot: replaying the log", "from", applied+1, "to", to)
	m := c.state.Machine()
	for i := applied + 1; i <= to; i++ {
		var l raft.Log
		err := c.log.GetLog(i, &l)
		if errors.Is(err, raft.ErrLogNotFound) {
			return tooOld(i)
		}
		if err != nil {
			return fmt.Errorf("replay log entry %d: %w", i, err)
		}
		if _, err := applyEntry(m, &l); err != nil {
			return fmt.Errorf("replay the log: %w", err)
		}
		if dirty, _ := m.Pending(); dirty > store.PushBackBytes {
			if err := c.state.Flush(); err != nil {
				return err
			}
		}
	}
	return c.state.Flush()
}
