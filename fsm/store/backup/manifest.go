package backup

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrDamaged says that a file is no backup, or not a whole one.
var ErrDamaged = errors.New("the backup is damaged")

// Format is the version of the form that this build writes, and the newest one that it reads.
const Format = 1

// Manifest says what is in a backup.
type Manifest struct {
	Format int `json:"format"`
	// TakenAt is when it was begun, by the clock of the server NodeID.
	TakenAt time.Time `json:"taken_at"`
	NodeID  string    `json:"node_id"`
	// Version is that of the server's build.
	Version   string `json:"version"`
	ClusterID string `json:"cluster_id"`
	// Incarnation is 16 hex digits; "": the cluster was never restored.
	Incarnation string `json:"incarnation,omitempty"`
	// Index and Term are those of the last entry in the state, Clock is its time.
	Index uint64    `json:"index"`
	Term  uint64    `json:"term"`
	Clock time.Time `json:"clock"`
	// Digest is that of the state, 16 hex digits.
	Digest string `json:"digest"`
	// LogVersion is the active version of the log, StateFormat that of state.db.
	LogVersion  uint32 `json:"log_version"`
	StateFormat uint32 `json:"state_format"`
	// What is in it. UnfinishedJobs are among Jobs.
	Jobs           uint64 `json:"jobs"`
	UnfinishedJobs uint64 `json:"unfinished_jobs"`
	RequestKeys    uint64 `json:"request_keys"`
	Sessions       uint64 `json:"sessions"`
	// NextJob and NextToken are what the cluster would have given out next.
	NextJob   uint64 `json:"next_job"`
	NextToken uint64 `json:"next_token"`
	// Servers is the node ids of the servers that were recorded.
	Servers []string `json:"servers"`
	// StateBytes is how large the state is when it is not compressed.
	StateBytes int64 `json:"state_bytes"`
}

// maxManifest bounds a manifest, bytes: it is read into memory.
const maxManifest = 1 << 20

func (m *Manifest) check() error {
	switch {
	case m.Format < 1:
		return fmt.Errorf("%w: its manifest has no format", ErrDamaged)
	case m.Format > Format:
		return fmt.Errorf("the backup has format %d, this build knows formats up to %d: use the version of rota that wrote it (%s)", m.Format, Format, m.Version)
	case m.ClusterID == "" || m.Index == 0 || m.StateBytes <= 0:
		return fmt.Errorf("%w: its manifest is not complete", ErrDamaged)
	case strings.ContainsFunc(m.ClusterID, notOfID):
		return fmt.Errorf("%w: the id of its cluster is none", ErrDamaged)
	}
	return nil
}

// notOfID says which characters are in no id of a cluster: files are named after it.
func notOfID(r rune) bool {
	return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z')
}

// decodeManifest reads one. What a newer build has added to this format is passed over.
func decodeManifest(text []byte) (m Manifest, err error) {
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%w: its manifest cannot be read: %w", ErrDamaged, err)
	}
	return m, m.check()
}
