package sim

import (
	"maps"
	"slices"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// Model is the reference state machine.
type Model struct {
	ClusterID                       string
	Clock                           int64
	NextJob, NextToken, NextSession uint64
	Jobs                            map[uint64]*Job
	Sessions                        map[uint64]*Session
	Keys                            map[KeyName]*Key
	// Active is the active version of the log; 0: no entry was applied yet. version is that of the entry under
	// way, and rules what it means.
	Active, version uint32
	rules           *task.Rules
	// Servers is the servers that are recorded, by node id.
	Servers map[string]*logpb.ServerRecord
	// Access is the access tokens, by hash.
	Access map[string]*logpb.AccessToken
	// Removed is the servers that were removed, in that order.
	Removed []*logpb.RemovedServer
	// Events is what an observer is told about the entry that was applied last.
	Events []Event
	// usage is what a report says that the attempt under way has used.
	usage []byte
	// Paths counts the interesting things that happened.
	Paths map[string]int
}

// Job is a job with all its tasks.
type Job struct {
	ID           uint64
	Spec         *task.Spec
	Key          string
	Hash         string
	Open, Hold   bool
	Own          bool // each task has a payload of its own
	RetryOf      uint64
	Submitted    int64
	Started      int64
	Finished     int64
	LastAppend   int64
	NotBefore    int64
	ExpireAt     int64
	Due          int64 // when it may be forgotten, where that was noted at its end
	CancelReason task.Reason
	Reason       task.Reason
	// Sweep is the page with which a cancel or an expiry goes on, plus 1; 0: none is under way.
	Sweep uint32
	Tasks []*Task
	// Outcomes is the indexes of final tasks in the order in which they ended.
	Outcomes []uint32
	Appends  []Append
}

// Append is tasks that were appended, for retries of the request.
type Append struct {
	First, Count uint32
	Packed       string
}

// Task is one task with its outcome.
type Task struct {
	Payload   []byte
	State     task.State
	Touched   bool // it was granted or ended
	Attempt   uint32
	Failures  uint32
	Lost      uint32
	Token     uint64
	Session   uint64
	NotBefore int64 // of a retry
	Since     int64 // of the grant, or of the wish that it stops
	Reason    task.Reason
	// Tried is the attempts that did not end it, in their order.
	Tried []Attempt

	// Of the outcome.
	Cursor           uint32
	Worker           string
	Output           []byte
	OutputMissing    uint64
	OutputHead       uint32
	ExitCodePlusOne  int32
	Error            string
	Stderr           []byte
	Usage            []byte
	FinishedAt       int64
	GrantedWhenEnded bool
	Reported         bool // a report ended it, not the servers
}

// Attempt is an attempt after which a task is tried again.
type Attempt struct {
	Number          uint32
	Outcome         task.Outcome
	Reason          task.Reason
	Worker          string
	Token           uint64
	Granted, Ended  int64
	ExitCodePlusOne int32
	Error, Stderr   string
	Usage           string
}

// AttemptOf is the attempt of task i in a record of attempts.
func AttemptOf(a *logpb.Attempt, i uint32) Attempt {
	usages, _ := task.PackSkip(a.PackedUsage, int(i-a.First))
	usage, _, _ := task.PackNext(usages)
	return Attempt{
		Number: a.Attempt, Outcome: task.Outcome(a.Outcome), Reason: task.Reason(a.Reason), Worker: a.Worker,
		Token: uint64(int64(i) + a.TokenOffset), Granted: a.GrantedNs, Ended: a.EndedNs, ExitCodePlusOne: a.ExitCodePlusOne,
		Error: a.Error, Stderr: string(a.StderrTail), Usage: string(usage),
	}
}

// Session is a worker's registration.
type Session struct {
	*logpb.Session
}

// KeyName is a request key in its queue.
type KeyName struct{ Queue, Key string }

// Key is what is known of a request key. Expires is 0 while its job is not final.
type Key struct {
	Hash    string
	Job     uint64
	Expires int64
}

// EventKind says what an observer was told.
type EventKind string

// The kinds of event.
const (
	GrantedEvent  EventKind = "granted"
	StoppingEvent EventKind = "stopping"
	ClosedEvent   EventKind = "closed"
)

// Event is one thing that an observer is told, about one task where it is one.
type Event struct {
	Kind    EventKind
	Session uint64
	Job     uint64
	Index   uint32
	Token   uint64
	Attempt uint32
}

// NewModel returns an empty model.
func NewModel() *Model {
	return &Model{
		NextJob: 1, NextToken: 1, NextSession: 1,
		Jobs: map[uint64]*Job{}, Sessions: map[uint64]*Session{}, Keys: map[KeyName]*Key{}, Paths: map[string]int{},
		Servers: map[string]*logpb.ServerRecord{}, Access: map[string]*logpb.AccessToken{},
	}
}

// Apply applies the ops of one entry of a version and returns a result for each. Errors have the
// right kind and no text.
func (m *Model) Apply(index uint64, version uint32, clock int64, ops []*logpb.Op) []fsm.Result {
	m.begin(version, ops)
	m.Clock = min(max(m.Clock, clock, 1), fsm.MaxClock)
	m.Events = nil
	results := make([]fsm.Result, len(ops))
	for i, op := range ops {
		results[i].Index = index
		m.apply(op, &results[i])
		for _, j := range m.Jobs { // the end of one says nothing of another
			m.finish(j)
		}
	}
	return results
}

func (m *Model) apply(op *logpb.Op, r *fsm.Result) {
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
		m.report(o.Report.Session, o.Report.Groups, r)
	case *logpb.Op_Overdue:
		m.overdue(o.Overdue, r)
	case *logpb.Op_Expire:
		m.expire(o.Expire, r)
	case *logpb.Op_Collect:
		m.collect(o.Collect, r)
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
	case nil:
		m.applyLater(op)
	}
}

// JobList returns the jobs in order of their ids.
func (m *Model) JobList() []*Job {
	var out []*Job
	for _, id := range slices.Sorted(maps.Keys(m.Jobs)) {
		out = append(out, m.Jobs[id])
	}
	return out
}

// Counts counts the tasks of a job by state.
func (j *Job) Counts() (c task.Counts) {
	for _, t := range j.Tasks {
		c[t.State]++
	}
	return c
}

// Retrying is how many tasks had an attempt that went wrong and are not final.
func (j *Job) Retrying() (n uint32) {
	for _, t := range j.Tasks {
		if !t.State.Final() && t.Failures+t.Lost > 0 {
			n++
		}
	}
	return n
}

// Total is the number of tasks.
func (j *Job) Total() uint32 { return uint32(len(j.Tasks)) }

// Frontier is the first task that was never touched.
func (j *Job) Frontier() uint32 {
	for i, t := range j.Tasks {
		if !t.Touched {
			return uint32(i)
		}
	}
	return j.Total()
}

// finish marks a job as final once all its tasks are.
func (m *Model) finish(j *Job) {
	if j.Finished != 0 || j.Open || len(j.Outcomes) < len(j.Tasks) {
		return
	}
	j.Finished, j.Sweep = m.Clock, 0
	if m.version >= fsm.GateVersion {
		j.Due = m.Clock + m.keep(j)
	}
	if j.Key != "" {
		m.Keys[KeyName{j.Spec.Queue, j.Key}].Expires = m.Clock + int64(m.rules.KeyRetention)
	}
}

func (m *Model) saw(path string) { m.Paths[path]++ }

func refuse(r *fsm.Result, kind task.Kind) { r.Err = &task.Error{Kind: kind, Msg: string(kind)} }

func (m *Model) initCluster(o *logpb.InitCluster, r *fsm.Result) {
	switch {
	case o.ClusterId == "":
		refuse(r, task.KindInvalid)
	case m.ClusterID != "":
		refuse(r, task.KindConflict)
	default:
		m.ClusterID = o.ClusterId
	}
}

// keep is how long j is kept after its end.
func (m *Model) keep(j *Job) int64 {
	c := j.Counts()
	switch {
	case j.Spec.Retention > 0:
		return int64(j.Spec.Retention)
	case c[task.Succeeded] == j.Total():
		return int64(m.rules.RetainSucceeded)
	}
	return int64(m.rules.RetainOther)
}

// collect forgets finished jobs and keys whose time is over.
func (m *Model) collect(o *logpb.Collect, r *fsm.Result) {
	for _, id := range o.Jobs {
		j := m.Jobs[id]
		if j == nil || j.Finished == 0 {
			continue
		}
		due := j.Due
		if due == 0 {
			due = j.Finished + m.keep(j)
		}
		if o.OverBudget || due <= m.Clock {
			delete(m.Jobs, id)
			r.Total++
			m.saw("job collected")
		}
	}
	for _, k := range o.Keys {
		name := KeyName{k.Queue, k.Key}
		if e := m.Keys[name]; e != nil && e.Expires != 0 && e.Expires <= m.Clock {
			delete(m.Keys, name)
			r.Total++
			m.saw("key collected")
		}
	}
}
