package fsm

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// History is what is on disk and no longer in memory. Its answers are final
// facts: they do not depend on when this server wrote them.
type History interface {
	// Key returns the record of a request key.
	Key(queue, key string) (*logpb.KeyRecord, bool)
	// Job returns the record of a finished job.
	Job(id uint64) (*logpb.JobRecord, bool)
	// Append returns the mark of the tasks that were appended to a job from first on.
	Append(job uint64, first uint32) (*logpb.AppendMark, bool)
	// Tokens tells under which tokens tasks got their outcomes. It calls f for runs of
	// tasks that are all of one range, in their order.
	Tokens(job uint64, tasks []task.Range, f func(task.Range, LastToken))
}

// LastToken is the token under which tasks got their outcomes: that of task i is
// i + TokenOffset.
type LastToken struct {
	TokenOffset int64
	// Granted is false where they never had one, Known where they have no outcome on disk.
	Granted, Known bool
	// Unreported: the servers have ended them, under that token.
	Unreported bool
}

// Observer is told, on the leader, what Apply did. It is called with the machine
// locked: it must return at once and must not call back.
type Observer interface {
	Granted(Grant)
	// Stopping: the task was asked to end while it is assigned.
	Stopping(session, job uint64, index uint32, tokenOffset int64)
	SessionClosed(session uint64)
	// Wake: there may be something to allocate.
	Wake()
}

// Grant is tasks of one job granted to one session by one op.
type Grant struct {
	Session, Job uint64
	First, Count uint32
	// TokenOffset: the token of task i is i + TokenOffset.
	TokenOffset int64
	Attempt     uint32
}

// Result is the answer to one op of an entry.
type Result struct {
	// Err is why the op had no effect; nil: it had.
	Err error
	// Index is the log index of the entry.
	Index uint64
	// Job is the job made, or found by its request key (Existed).
	Job     uint64
	Existed bool
	// Total is the number of tasks of the job.
	Total uint32
	// Cancelled and Stopping count the tasks a cancel ended or asked to end.
	Cancelled, Stopping uint32
	// Session is the session opened.
	Session uint64
	// Granted and Refused count the tasks of a plan.
	Granted, Refused uint32
	// Exceptions are the reported tasks that were not recorded.
	Exceptions []Exception
}

// Machine is the replicated state, and what is derived from it. Apply is called by one goroutine; everything
// else may be called by any.
type Machine struct {
	mu       machineLock
	history  History
	observer Observer
	watchers *Watchers

	replicated
	derived

	shownAccess   atomic.Pointer[map[string]*logpb.AccessToken] // access, for readers that must not wait for Apply
	writes        atomic.Uint32                                 // what ActiveVersion says
	serverChanges uint64                                        // counts the changes of servers
	collected     map[uint64]struct{}                           // jobs that were forgotten, though the disk may still have them
	mostLiveJobs  int                                           // the bound on live jobs, in tests; 0: that of the rules
	unblock       func(ended *job, room int)                    // what the end of a job means for others, see settle; nil: nothing

	// Of the entry being applied.
	version uint32 // what its ops mean, and rules that in numbers
	rules   *rules
	touched []*job
	wake    bool
	read    []readSpec // specs of its submits that were not applied yet
	events  []Event    // what it has done, for those who follow

	// In no flush batch yet.
	dirtyJobs     []*job
	dirtyKeys     []string
	dirtySessions map[uint64]struct{}
	dirtyAccess   map[string]struct{}
	deletedJobs   []uint64
	metaDirty     bool
	dirtyBytes    int64
	flushingBytes int64
	// pending is dirtyBytes and flushingBytes for those who must not wait for Apply.
	pending struct{ dirty, flushing atomic.Int64 }
}

// New returns an empty machine. watchers may be shared by machines that take each
// other's place; nil: nobody watches.
func New(history History, watchers *Watchers) *Machine {
	if watchers == nil {
		watchers = NewWatchers()
	}
	m := &Machine{
		history:       history,
		watchers:      watchers,
		replicated:    newReplicated(),
		derived:       newDerived(),
		collected:     map[uint64]struct{}{},
		dirtySessions: map[uint64]struct{}{},
		dirtyAccess:   map[string]struct{}{},
	}
	m.shownAccess.Store(&map[string]*logpb.AccessToken{})
	m.setActive(0)
	return m
}

// SetObserver makes o the observer, or none with nil, between two entries.
func (m *Machine) SetObserver(o Observer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.observer = o
}

// Place is where an entry stands in the log.
type Place struct{ Index, Term uint64 }

// ErrGap says that entries are missing between the state and the next one.
var ErrGap = errors.New("entries of the log are missing")

// CheckFollows checks that the entry behind prev is the next one, where it was not applied
// already: a server that skips entries has a state that nobody else has.
func (m *Machine) CheckFollows(index uint64, prev Place) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if last := (Place{m.applied, m.term}); index > last.Index && prev != last {
		return fmt.Errorf("%w: entry %d follows index %d of term %d, the state ends at index %d of term %d: the data folder is not whole; restore it, or move it away and let the server join anew",
			ErrGap, index, prev.Index, prev.Term, last.Index, last.Term)
	}
	return nil
}

// Apply applies one log entry and returns a result for each of its ops. An entry
// at or below the applied index is skipped and has no results. An error means
// that this server must stop: it cannot apply what the others do.
func (m *Machine) Apply(index, term uint64, data []byte) ([]Result, error) {
	if index <= m.AppliedIndex() {
		return nil, nil
	}
	e, err := DecodeEntry(data)
	if err != nil {
		return nil, fmt.Errorf("log index %d: %w", index, err)
	}
	results := make([]Result, len(e.Ops))
	m.mu.Lock()
	defer m.mu.Unlock()
	// What this build does not know is found before anything has changed.
	if err := m.readSpecs(e.Ops); err != nil {
		return nil, fmt.Errorf("log index %d: %w", index, err)
	}
	m.begin(m.versionOf(e))
	// The proposer never lets the clock go back; a leader with another history
	// must not be able to either. Nor is it ever 0, which stands for "not yet".
	m.clock = min(max(m.clock, e.ClockNs, 1), MaxClock)
	m.noteFirstEntry()
	m.applied, m.term = index, term
	m.metaDirty = true
	for i, op := range e.Ops {
		results[i].Index = index
		m.apply(op, &results[i])
	}
	m.settle()
	m.tellEntry()
	m.showPending()
	return results, nil
}

// ApplyConfiguration notes Raft's configuration as of index.
func (m *Machine) ApplyConfiguration(index, term uint64, configuration []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if index <= m.applied {
		return
	}
	m.applied, m.term = index, term
	m.configuration, m.configIndex = configuration, index
	m.metaDirty = true
}

func (m *Machine) apply(op *logpb.Op, r *Result) {
	if r.Err = Supports(m.version, Needs(op)); r.Err != nil {
		if op.GetSubmit() != nil {
			m.release(m.nextSpec().spec)
		}
		return
	}
	switch o := op.Op.(type) {
	case *logpb.Op_InitCluster:
		m.initCluster(o.InitCluster, r)
	case *logpb.Op_Submit:
		m.submit(o.Submit, r)
	case *logpb.Op_AppendTasks:
		m.appendTasks(o.AppendTasks, r)
	case *logpb.Op_CloseTasks:
		m.closeTasks(o.CloseTasks, r)
	case *logpb.Op_Cancel:
		m.cancel(o.Cancel, r)
	case *logpb.Op_OpenSession:
		m.openSession(o.OpenSession, r)
	case *logpb.Op_CloseSession:
		m.closeSession(o.CloseSession, r)
	case *logpb.Op_ApplyPlan:
		m.applyPlan(o.ApplyPlan, r)
	case *logpb.Op_Report:
		if r.Err = m.checkReport(o.Report.Groups); r.Err == nil {
			m.report(o.Report.Session, o.Report.Groups, r)
		}
	case *logpb.Op_Overdue:
		m.overdue(o.Overdue, r)
	case *logpb.Op_Expire:
		m.expire(o.Expire, r)
	case *logpb.Op_Collect:
		m.collect(o.Collect, r)
	case *logpb.Op_Checkpoint:
		m.checkpoint(o.Checkpoint)
	case *logpb.Op_PutServer:
		m.putServer(o.PutServer, r)
	case *logpb.Op_DeleteServer:
		m.deleteServer(o.DeleteServer, r)
	case *logpb.Op_RemoveServer:
		m.removeServer(o.RemoveServer, r)
	case *logpb.Op_SetVersion:
		m.setVersion(o.SetVersion, r)
	case *logpb.Op_CreateAccessToken:
		m.createAccessToken(o.CreateAccessToken, r)
	case *logpb.Op_RevokeAccessToken:
		m.revokeAccessToken(o.RevokeAccessToken, r)
	default:
		m.applyLater(op, r)
	}
}

func (m *Machine) initCluster(o *logpb.InitCluster, r *Result) {
	if o.ClusterId == "" {
		r.Err = task.Errorf(task.KindInvalid, "the id of the cluster is empty")
		return
	}
	if m.clusterID != "" {
		r.Err = task.Errorf(task.KindConflict, "the cluster already has the id %s", m.clusterID)
		return
	}
	m.clusterID = o.ClusterId
}

// maxDigestMarks is how many checkpoints a server remembers its digests of. One
// is asked for soon after it was made, or never.
const maxDigestMarks = 16

func (m *Machine) checkpoint(o *logpb.Checkpoint) {
	m.settle()
	m.digests = append(m.digests, &logpb.DigestMark{Id: o.Id, Index: m.applied, Digest: m.digest()})
	if len(m.digests) > maxDigestMarks {
		m.digests = m.digests[1:]
	}
}
