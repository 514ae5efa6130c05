package fsm

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// A state that comes from a backup, or from the only server that is left, begins a new incarnation. It belongs to a new
// cluster: the old one may have gone on behind the backup, may still run, or may come from the same backup.
//
// What the old cluster has given out behind the backup is not known. So nothing is counted on from the state alone:
// every counter goes on from a floor that follows from the wall clock. A cluster gives out less in a millisecond than
// the floor rises in it, so it has never given out what is above the floor of a later moment, and neither has any
// other cluster that began in the same way.

const (
	// The floors rise by these powers of two in each millisecond: 4,096 tokens, 128 jobs, 128 sessions and 32 entries of
	// the log. Tokens stay below 2^53 until the year 2089, which is where numbers of JSON end for many programs. Jobs
	// stay below 2^48 as long: the 16 bits above are reserved.
	tokenShift, jobShift, sessionShift, indexShift = 12, 7, 7, 5
	// termLeap is how far the term goes on. The old cluster may have had elections behind the backup. Workers and clients
	// take a leap of 10,000 at a server's word (wire/leader.MaxTermLeap).
	termLeap = 1_000
	// MaxSettle bounds how long an incarnation grants no exclusive tasks.
	MaxSettle = 24 * time.Hour
)

// floorEpoch is the beginning of 2020, Unix ms: no cluster is older.
const floorEpoch = 1_577_836_800_000

// Floor is what a cluster that begins at some moment gives out first, or more.
type Floor struct{ Token, Job, Session, Index uint64 }

// FloorAt returns the floor of a moment, Unix ns.
func FloorAt(now int64) Floor {
	ms := uint64(max(0, now/int64(time.Millisecond)-floorEpoch))
	return Floor{Token: ms << tokenShift, Job: ms << jobShift, Session: ms << sessionShift, Index: ms << indexShift}
}

// Cause is why an incarnation began.
type Cause uint32

// The causes.
const (
	CauseRestore Cause = 1 // from a backup
	CauseRecover Cause = 2 // from a server that had lost its majority
)

// Beginning is how an incarnation begins.
type Beginning struct {
	// ID is random, and not 0. ClusterID is that of the new cluster.
	ID        uint64
	ClusterID string
	Cause     Cause
	// Now is the time, Unix ns. It must be later than the time of the state.
	Now int64
	// Settle is how long the cluster grants no exclusive task, from its first entry on. Behind the backup, the old cluster may have
	// granted one that the state has as pending; its worker stops it before its lease has ended.
	Settle time.Duration
	// Configuration is Raft's, in its encoding.
	Configuration []byte
	// DropAccess forgets all access tokens: some may have been revoked behind the backup.
	DropAccess bool
}

// BeginIncarnation makes the state that of a new cluster, in which nothing is given out that was given out before. It
// is no op: no log has it. A tool calls it on a state that no server runs on; the servers of the new cluster get it as a
// state. It returns where the log of the new cluster goes on.
//
// Jobs, results, sessions and tasks under way stay: workers that are still there go on. The servers are forgotten. The
// active version is the newest one, because all servers of the new cluster are of this build or a later one.
func (m *Machine) BeginIncarnation(b *Beginning) (Place, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.checkBeginning(b); err != nil {
		return Place{}, err
	}
	m.setActive(max(m.active, Version))
	m.incarnation = &logpb.Incarnation{
		Id: b.ID, BeganNs: b.Now, FromIndex: m.applied, FromCluster: m.clusterID, Cause: uint32(b.Cause), SettleNs: int64(b.Settle),
	}
	floor := FloorAt(b.Now)
	m.nextToken, m.nextJob, m.nextSession = max(m.nextToken, floor.Token), max(m.nextJob, floor.Job), max(m.nextSession, floor.Session)
	m.applied, m.term = max(m.applied+1, floor.Index), m.term+termLeap
	m.clock, m.clusterID = b.Now, b.ClusterID
	m.configuration, m.configIndex = b.Configuration, m.applied
	m.digests = nil
	m.setServers(nil)
	m.removed = nil // their ids are of the old cluster
	if b.DropAccess {
		for _, hash := range sortedKeys(m.access) {
			m.dropAccess(m.access[hash])
		}
		m.showAccess()
	}
	m.metaDirty = true
	return Place{Index: m.applied, Term: m.term}, nil
}

func (m *Machine) checkBeginning(b *Beginning) error {
	switch {
	case b.ID == 0 || b.ClusterID == "" || b.ClusterID == m.clusterID || len(b.Configuration) == 0 || b.Settle <= 0 || b.Settle > MaxSettle:
		return task.Errorf(task.KindInvalid, "an incarnation needs an id, a cluster of its own, servers, and a time to settle")
	case m.clusterID == "":
		return task.Errorf(task.KindInvalid, "the state is of no cluster: it is empty")
	case b.Now <= m.clock || b.Now > MaxClock:
		// A floor from before may be one that another restore has used, or that the cluster has passed.
		return task.Errorf(task.KindInvalid,
			"the clock of this machine says %s, and the state was changed at %s: set the clock; numbers that were given out before might be given out again",
			time.Unix(0, b.Now).UTC().Format(time.RFC3339), time.Unix(0, m.clock).UTC().Format(time.RFC3339))
	}
	return nil
}

// Incarnation returns which incarnation the state is of; nil: the first one. It must not be changed.
func (m *Machine) Incarnation() *logpb.Incarnation {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.incarnation
}

// Next returns the job and the token that are given out next.
func (m *Machine) Next() (job, token uint64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.nextJob, m.nextToken
}

// noteFirstEntry notes, with the first entry of an incarnation, until when exclusive tasks wait. The time since the state was made
// does not count: the old cluster may have run until the first server of the new one was started.
func (m *Machine) noteFirstEntry() {
	if i := m.incarnation; i != nil && i.SettledNs == 0 {
		noted := proto.CloneOf(i) // a flush may be reading the old one
		noted.SettledNs = m.clock + i.SettleNs
		m.incarnation = noted
	}
}

// settling says whether exclusive tasks have to wait at a time, because the cluster has just begun an incarnation.
func (m *Machine) settling(now int64) bool {
	return m.incarnation != nil && (m.incarnation.SettledNs == 0 || now < m.incarnation.SettledNs)
}

// checkIncarnation finds what is wrong with one that was read.
func checkIncarnation(i *logpb.Incarnation) error {
	switch {
	case i == nil:
		return nil
	case hasUnknown(i):
		return errTooOld("the record of the incarnation has fields that it does not know")
	case i.Id == 0 || i.BeganNs <= 0 || i.FromCluster == "" || i.SettleNs <= 0 || i.SettledNs < 0:
		return task.Errorf(task.KindInternal, "malformed record of the incarnation")
	}
	return nil
}

// incarnationHash is its part of the digest; 0: it is the first one.
func incarnationHash(i *logpb.Incarnation) uint64 {
	if i == nil {
		return 0
	}
	return task.Mix(i.Id, uint64(i.BeganNs), i.FromIndex, hashBytes([]byte(i.FromCluster)), uint64(i.Cause), uint64(i.SettleNs), uint64(i.SettledNs))
}
