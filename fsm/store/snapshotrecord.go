package store

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/internal/sealedfile"
)

// ErrSnapshotCorrupt says that what is written of the newest snapshot is not what was.
var ErrSnapshotCorrupt = errors.New("the record of the newest snapshot is corrupt")

// snapshotVersion is that of the records.
const snapshotVersion = raft.SnapshotVersionMax

// snapshotRecord is what is written of a snapshot.
type snapshotRecord struct {
	Version            raft.SnapshotVersion
	ID                 string
	Index, Term        uint64
	Configuration      []byte
	ConfigurationIndex uint64
	// StateIndex is the index that state.db must have reached at least. It is lower
	// than Index where the entries between never reach the state machine.
	StateIndex uint64
	// Received says that the content is in the folder.
	Received bool
	Size     int64
}

// SnapshotPlace is where a snapshot stands in the log.
type SnapshotPlace struct {
	Index, Term uint64
	// StateIndex is that of the last entry up to Index that the state machine sees.
	StateIndex uint64
	// ConfigurationIndex is the entry with Configuration.
	ConfigurationIndex uint64
	Configuration      raft.Configuration
}

func snapshotID(index, term uint64) string { return fmt.Sprintf("%d-%d", term, index) }

// check checks a record against itself.
func (r *snapshotRecord) check() error {
	var wrong string
	switch {
	case r.Version != snapshotVersion:
		wrong = fmt.Sprintf("version %d is not known", r.Version)
	case r.ID != snapshotID(r.Index, r.Term):
		wrong = fmt.Sprintf("%s is not of index %d and term %d", r.ID, r.Index, r.Term)
	case r.StateIndex > r.Index:
		wrong = fmt.Sprintf("the index of the state, %d, is above %d", r.StateIndex, r.Index)
	case r.ConfigurationIndex > r.Index:
		wrong = fmt.Sprintf("the index of the configuration, %d, is above %d", r.ConfigurationIndex, r.Index)
	case r.Size < 0 || r.Size > 0 && !r.Received:
		wrong = fmt.Sprintf("its size is %d", r.Size)
	default:
		wrong = checkConfiguration(r.Configuration)
	}
	if wrong == "" {
		return nil
	}
	return fmt.Errorf("%w: %s", sealedfile.ErrDamaged, wrong)
}

// checkConfiguration says what is wrong with a configuration; raft panics.
func checkConfiguration(encoded []byte) (wrong string) {
	defer func() {
		if p := recover(); p != nil {
			wrong = fmt.Sprint(p)
		}
	}()
	raft.DecodeConfiguration(encoded)
	return ""
}

func (r *snapshotRecord) place() SnapshotPlace {
	return SnapshotPlace{r.Index, r.Term, r.StateIndex, r.ConfigurationIndex, raft.DecodeConfiguration(r.Configuration)}
}

func (r *snapshotRecord) meta() *raft.SnapshotMeta {
	return &raft.SnapshotMeta{
		Version: r.Version, ID: r.ID, Index: r.Index, Term: r.Term, Size: r.Size,
		Configuration: raft.DecodeConfiguration(r.Configuration), ConfigurationIndex: r.ConfigurationIndex,
	}
}
