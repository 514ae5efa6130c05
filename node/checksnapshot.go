package node

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/node/raftlog"
)

// checkSnapshot checks the newest snapshot against the state, which has reached it, and
// against the log. Raft goes on behind it, whatever it says.
func (c *startCheck) checkSnapshot(s store.SnapshotPlace) error {
	err := errors.Join(c.checkSnapshotState(s), c.checkSnapshotLog(s))
	if err != nil {
		err = fmt.Errorf("the newest snapshot, of index %d and term %d, %w: %s", s.Index, s.Term, err, notWhole)
	}
	return err
}

func (c *startCheck) checkSnapshotState(s store.SnapshotPlace) error {
	applied, term, _ := c.state.Machine().Applied()
	encoded, index := c.state.Machine().Configuration()
	switch {
	case applied > s.StateIndex && applied <= s.Index:
		return fmt.Errorf("says that nothing behind index %d reaches the state, and state.db has index %d", s.StateIndex, applied)
	case applied == s.StateIndex && term > s.Term, applied > s.Index && term < s.Term:
		return fmt.Errorf("contradicts state.db, which has index %d of term %d", applied, term)
	case index > 0 && s.ConfigurationIndex > index:
		return fmt.Errorf("has the servers of index %d, and state.db those of index %d", s.ConfigurationIndex, index)
	case index > 0 && s.ConfigurationIndex == index && !reflect.DeepEqual(s.Configuration, raft.DecodeConfiguration(encoded)):
		return fmt.Errorf("has other servers than state.db has of index %d", index)
	}
	return nil
}

// checkSnapshotLog looks at the snapshot's own entry and at the next one, where the log has
// them: both tell which entry the state machine sees before them.
func (c *startCheck) checkSnapshotLog(s store.SnapshotPlace) error {
	var own, next raft.Log
	hasOwn, err1 := entry(c.log, s.Index, &own)
	hasNext, err2 := entry(c.log, s.Index+1, &next)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if hasOwn && own.Term != s.Term {
		return fmt.Errorf("contradicts the log, which has that index of term %d", own.Term)
	}
	if hasNext && next.Term < s.Term {
		return fmt.Errorf("contradicts the log, which goes on in term %d", next.Term)
	}
	if hasOwn {
		prev, found, err := raftlog.LastSeen(c.log, 1, s.Index)
		if err == nil && found && prev.Index != s.StateIndex {
			err = fmt.Errorf("says that nothing behind index %d reaches the state, and the log has index %d", s.StateIndex, prev.Index)
		}
		if err != nil {
			return err
		}
	}
	prev, named, err := raftlog.Previous(&next)
	if err == nil && named && prev.Index != s.StateIndex {
		err = fmt.Errorf("says that the state ends at index %d, and the next entry follows index %d", s.StateIndex, prev.Index)
	}
	return err
}

// entry reads an entry, and says whether the log has it.
func entry(log raft.LogStore, index uint64, l *raft.Log) (has bool, err error) {
	err = log.GetLog(index, l)
	if errors.Is(err, raft.ErrLogNotFound) {
		return false, nil
	}
	return err == nil, err
}
