package store

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/sim"
	"github.com/rota-scheduler/rota/task"
)

// mustReach has the paths that a full run of the model test must take. A path that is never taken is not tested.
var mustReach = []string{
	"retry", "retry granted", "worker lost too often", "failed", "returned",
	"stopping to cancelled by a report", "stopping to cancelled by the end of a session",
	"requeued by the end of a session", "task kept over a new session", "task cancelled by itself",
	"verdict already", "verdict superseded", "verdict on what the servers have ended", "verdict unknown", "report of another session's task", "session replaced without its nonce", "mixed verdicts in one group",
	"range cancelled", "sweep goes on", "cancelled again in a sweep", "cancelled while it expires", "ended by a report before the sweep",
	"ended by the end of a session before the sweep", "sweep reloaded", "append leaves a gap", "append of nothing", "append repeated", "close repeated after the end",
	"granted with the submit", "key conflict", "key repeated", "serial task waits for the one before it", "no free slot", "abandoned", "expired", "expired while open", "job collected", "key collected",
	"job collected before its flush", "hostile plan",
	"overdue to cancelled", "overdue to failed", "overdue to scheduled", "overdue and not started", "overdue too early",
	"page done", "page done and reloaded", "inline job", "job leaves with several flushes", "crash before the write", "crash behind the write", "installed",
	"flush batch in flight over an entry", "payloads from disk and memory",
	"large spec within a record", "spec apart, in memory", "spec apart, on disk", "several attempts",
	"server recorded again", "server moved", "server forgotten", "server beyond the limit", "version raised", "entry from before the rise",
	"access token made", "access token revoked", "access token expired", "another access token of this id",
}

// world is one run: the model, a server that flushes, crashes and is rebuilt from a stream, and a twin that does
// none of this. All of them apply the same log.
type world struct {
	*rapid.T
	base  string
	model *sim.Model
	paths map[string]int

	state  *State
	events recorder
	batch  *fsm.FlushBatch // taken, and not yet written
	lives  int             // how often the state was opened or installed

	twin       *fsm.Machine
	twinEvents recorder

	log   []logged
	clock int64
	// ungated: the first entries are from before the gate.
	ungated bool
	// looked is the latest time for which a view was taken: the machines know what was due then.
	looked int64

	specs   [][]byte        // submitted before, to be used again
	reports []*logpb.Report // sent before, to be sent again
	plans   []*logpb.ApplyPlan
	appends []*logpb.AppendTasks
}

// logged is an entry and what it gave.
type logged struct {
	index   uint64
	data    []byte
	results []fsm.Result
}

// TestMachinesBehaveLikeTheModel applies random entries to the model and to real
// machines, while state.db is flushed, lost and streamed at random moments.
func TestMachinesBehaveLikeTheModel(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	var mu sync.Mutex
	reached := map[string]int{}
	t.Run("runs", func(t *testing.T) {
		for part := range 2 {
			t.Run(strconv.Itoa(part), func(t *testing.T) {
				t.Parallel()
				rapid.Check(t, func(rt *rapid.T) {
					w := newWorld(rt, base)
					defer w.close()
					w.run()
					mu.Lock()
					defer mu.Unlock()
					for _, paths := range []map[string]int{w.paths, w.model.Paths} {
						for path, n := range paths {
							reached[path] += n
						}
					}
				})
			})
		}
	})
	for _, path := range slices.Sorted(maps.Keys(reached)) {
		t.Logf("%7d %s", reached[path], path)
	}
	if !t.Failed() && !testing.Short() { // a short run is too short for the rare ones
		for _, path := range mustReach {
			require.NotZero(t, reached[path], "never reached: %s", path)
		}
	}
}

func newWorld(t *rapid.T, base string) *world {
	dir, err := os.MkdirTemp(base, "run-")
	require.NoError(t, err)
	w := &world{T: t, base: dir, model: sim.NewModel(), paths: map[string]int{}, twin: fsm.New(noHistory{}, nil), clock: 1_700_000_000e9, ungated: rapid.Bool().Draw(t, "ungated")}
	w.open(OpenState(w.newDir(), w.identity(), slog.New(slog.DiscardHandler)))
	w.twin.SetObserver(&w.twinEvents)
	return w
}

func (w *world) newDir() string {
	dir, err := os.MkdirTemp(w.base, "state-")
	require.NoError(w, err)
	return dir
}

func (w *world) identity() Identity {
	return Identity{NodeID: "n" + strconv.Itoa(w.lives), ServerID: "s"}
}

func (w *world) open(s *State, err error) {
	require.NoError(w, err)
	w.state = s
	w.adopted()
}

// leaveAtOnce is how many records of forgotten jobs leave the file with a flush, of which there are dozens at most.
const leaveAtOnce = 3

// adopted brings the state's machine up to date after it has changed.
func (w *world) adopted() {
	w.lives++
	w.batch = nil
	w.state.pair.Load().db.leaveAtOnce = leaveAtOnce
	m := w.state.Machine()
	applied := m.AppliedIndex()
	for _, l := range w.log {
		results, err := m.Apply(l.index, 1, l.data)
		require.NoError(w, err)
		if l.index <= applied {
			require.Nil(w, results, "an entry that the file has was applied again")
			continue
		}
		require.Equal(w, l.results, plain(results), "entry %d gave something else when it was replayed", l.index)
	}
	m.SetObserver(&w.events)
	w.events.seen = nil
	for _, j := range w.model.JobList() {
		if j.Sweep > 0 {
			w.paths["sweep reloaded"]++
		}
	}
	w.compareAll()
}

func (w *world) close() {
	_ = w.state.Abandon()
	_ = os.RemoveAll(w.base)
}

// run takes random steps.
func (w *world) run() {
	w.apply(opInit("c1")) // every log begins with it
	if w.chance("raised", 50) {
		w.apply(opRise(fsm.Version))
	}
	w.apply(w.opOpenSession(), w.opOpenSession())
	for range w.between("steps", 10, 60) {
		pick(w, "action", weighted[func()]{
			{30, w.entry}, {3, w.workOff}, {4, w.takeAll}, {3, w.flush}, {3, w.beginCut}, {3, w.endCut}, {2, w.crash}, {1, w.install}, {1, w.loseWorkers}, {2, w.sweepSlowly}, {1, w.configure},
			{1, func() { w.apply(w.opServers()...) }}, {2, func() { w.apply(opRise(fsm.Version)) }},
		})()
	}
	w.flush()
	w.crash()
	w.drain()
}

// drain ends and forgets everything: nothing may be left, in memory, on disk or in the
// digest.
func (w *world) drain() {
	var ops []*logpb.Op
	for _, j := range w.model.JobList() {
		if j.Finished == 0 {
			ops = append(ops, &logpb.Op{Op: &logpb.Op_Cancel{Cancel: &logpb.Cancel{Job: j.ID, Reason: uint32(task.ReasonUser)}}})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(w.model.Sessions)) {
		ops = append(ops, &logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: &logpb.CloseSession{Id: id}}})
	}
	for _, t := range w.model.AccessList() {
		ops = append(ops, &logpb.Op{Op: &logpb.Op_RevokeAccessToken{RevokeAccessToken: &logpb.RevokeAccessToken{Hash: t.Hash}}})
	}
	for _, s := range w.model.ServerList() {
		ops = append(ops, &logpb.Op{Op: &logpb.Op_DeleteServer{DeleteServer: &logpb.DeleteServer{NodeId: s.NodeId, ServerId: s.ServerId}}})
	}
	w.apply(ops...)
	w.clock = max(w.clock, w.model.Clock) + int64(task.RetainOther)
	w.apply(w.opCollectAll())
	require.Empty(w, w.model.Jobs)
	require.Empty(w, w.model.Keys)
	w.compareAll()
	w.flush()
	for w.state.pair.Load().db.leaving.Load() {
		w.flush()
	}
	for _, m := range []*fsm.Machine{w.state.Machine(), w.twin} {
		w.apply()
		meta := m.TakeBatch().Meta
		require.Zero(w, meta.JobsSum)
		require.Zero(w, meta.KeysSum)
		require.Zero(w, meta.SessionsSum)
		require.Empty(w, meta.Servers)
		stats := m.Stats()
		require.Zero(w, stats.Jobs)
		require.Zero(w, stats.Classes)
		require.Zero(w, stats.LiveTasks)
		_, next := m.Due(math.MaxInt64, 1)
		require.Zero(w, next, "a timer is left")
	}
	requireNothingLeft(w, w.state)
}

// requireNothingLeft checks that the file of a state holds nothing but who it is.
func requireNothingLeft(t require.TestingT, s *State) {
	require.NoError(t, s.pair.Load().db.view(func(tx *bolt.Tx) error {
		for _, bucket := range allBuckets {
			k, _ := tx.Bucket(bucket).Cursor().First()
			require.True(t, k == nil || string(bucket) == "meta", "%s holds %x", bucket, k)
		}
		require.Equal(t, 1, tx.Bucket(metaBucket).Stats().KeyN, "the meta bucket holds more than the meta record")
		return nil
	}))
}

// entry applies an entry with a few ops.
func (w *world) entry() {
	w.moveClock()
	ops := make([]*logpb.Op, w.between("ops", 1, 4))
	for i := range ops {
		ops[i] = w.op()
	}
	w.apply(ops...)
}

// workOff grants what can be granted and reports what is held, for jobs to end.
func (w *world) workOff() {
	w.apply(w.opPlan(false))
	for _, id := range slices.Sorted(maps.Keys(w.model.Sessions)) {
		if op := w.opReportAll(id); op != nil {
			w.apply(op)
		}
	}
}

// takeAll tries to grant everything to everyone, at a time when some of it must wait.
func (w *world) takeAll() {
	for _, id := range slices.Sorted(maps.Keys(w.model.Sessions)) {
		w.apply(w.opReport())
		w.apply(w.opPlanFor(id))
	}
}

// loseWorkers loses as many workers as a task survives, and one more.
func (w *world) loseWorkers() {
	for range task.MaxLost {
		w.apply(w.opEverySession())
		id := w.model.NextSession - 1
		w.clock += int64(task.BackoffMax) * 2
		w.apply(w.opPlanFor(id))
		w.apply(&logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: &logpb.CloseSession{Id: id}}})
	}
}

// configure applies a configuration of raft, which takes an index of its own.
func (w *world) configure() {
	index := w.lastIndex() + 1
	w.state.Machine().ApplyConfiguration(index, 1, []byte("c"))
	w.twin.ApplyConfiguration(index, 1, []byte("c"))
	w.apply(w.op())
}

func (w *world) lastIndex() uint64 { return w.state.Machine().AppliedIndex() }

func (w *world) apply(ops ...*logpb.Op) []fsm.Result {
	version := w.version(ops)
	data, err := proto.Marshal(&logpb.Entry{Version: version, ClockNs: w.clock, Ops: ops})
	require.NoError(w, err)
	index := w.lastIndex() + w.between("step", 1, 2)
	w.events.seen, w.twinEvents.seen = nil, nil
	collected := w.model.Paths["job collected"]
	unflushed := len(w.twin.JobsBelow(0, 1000)) // only to look at it with jobs in memory

	want := plain(w.model.Apply(index, version, w.clock, ops))
	got, err := w.state.Machine().Apply(index, 1, data)
	require.NoError(w, err)
	twin, err := w.twin.Apply(index, 1, data)
	require.NoError(w, err)
	for i, op := range ops {
		require.Equal(w, want[i], plain(got)[i], "result of %v", op)
		require.Equal(w, want[i], plain(twin)[i], "result of %v on the machine that never flushes", op)
	}
	w.log = append(w.log, logged{index, data, want})
	require.Equal(w, w.model.Events, w.events.seen)
	require.Equal(w, w.model.Events, w.twinEvents.seen)
	if w.model.Paths["job collected"] > collected && unflushed > len(w.twin.JobsBelow(0, 1000)) {
		w.paths["job collected before its flush"]++
	}
	w.countMixed(ops, want)
	if w.batch != nil {
		w.paths["flush batch in flight over an entry"]++
	}
	w.compareEntry()
	return want
}

// version returns the version of an entry. It is the active one, and sometimes an earlier one, as from a leader that
// has not seen the rise. A log that begins without a gate has one only from its first rise on.
func (w *world) version(ops []*logpb.Op) uint32 {
	if len(ops) > 0 && ops[0].GetSetVersion() != nil && w.chance("alone", 80) {
		return ops[0].GetSetVersion().Version
	}
	switch active := w.model.Active; {
	case active == 0 && w.ungated:
		return fsm.GateVersion - 1
	case active == 0:
		return fsm.GateVersion
	case active >= fsm.GateVersion && !w.chance("late", 5):
		return active
	}
	return fsm.GateVersion - 1
}

// countMixed counts report groups of which some tasks were recorded and some were not.
func (w *world) countMixed(ops []*logpb.Op, results []fsm.Result) {
	for i, op := range ops {
		n := uint32(0)
		for _, g := range op.GetReport().GetGroups() {
			for _, rg := range g.Ranges {
				n += rg.Count
			}
		}
		if x := fsm.Excepted(results[i].Exceptions); len(op.GetReport().GetGroups()) == 1 && x > 0 && int(n) > x {
			w.paths["mixed verdicts in one group"]++
		}
	}
}

func (w *world) flush() {
	w.endCut()
	require.NoError(w, w.state.Flush())
	if w.state.pair.Load().db.leaving.Load() {
		w.paths["job leaves with several flushes"]++
	}
	w.compareFlushed()
	w.compareAll()
}

// beginCut and endCut are a flush during which entries are applied.
func (w *world) beginCut() {
	if w.batch == nil {
		w.batch = w.state.Machine().TakeBatch()
	}
}

func (w *world) endCut() {
	if w.batch == nil {
		return
	}
	p := w.state.pair.Load()
	require.NoError(w, p.db.Write(w.batch))
	w.compareAll() // on disk, and not yet forgotten
	p.machine.Flushed(w.batch)
	w.batch = nil
	w.compareAll()
}

// crash loses what was not written, and opens the file again.
func (w *world) crash() {
	if w.batch != nil {
		if w.chance("written", 50) {
			require.NoError(w, w.state.pair.Load().db.Write(w.batch))
			w.paths["crash behind the write"]++
		} else {
			w.paths["crash before the write"]++
		}
	}
	require.NoError(w, w.state.Abandon())
	w.open(OpenState(w.state.dir, w.state.id, w.state.log))
}

// install streams the file to a new server, which takes the place of this one.
func (w *world) install() {
	other, err := OpenState(w.newDir(), w.identity(), w.state.log)
	require.NoError(w, err)
	// The follower has some entries of its own already.
	for _, l := range w.log[:w.below(len(w.log)+1, "follower")] {
		if l.index > w.state.fileIndex(w) {
			break
		}
		_, err := other.Machine().Apply(l.index, 1, l.data)
		require.NoError(w, err)
	}
	if w.chance("follower flushes", 50) {
		require.NoError(w, other.Flush())
	}
	sent, err := w.state.stream()
	require.NoError(w, err)
	data, err := io.ReadAll(sent)
	require.NoError(w, err)
	require.NoError(w, sent.Close())
	require.EqualValues(w, sent.size, len(data))
	path, meta, err := Receive(other.dir, bytes.NewReader(data))
	require.NoError(w, err)
	require.NoError(w, other.Install(path))
	require.Equal(w, meta.AppliedIndex, other.Machine().AppliedIndex())
	require.NoError(w, w.state.Abandon())
	w.paths["installed"]++
	w.open(other, nil)
}

func (s *State) fileIndex(t require.TestingT) uint64 {
	meta, err := s.pair.Load().db.Meta()
	require.NoError(t, err)
	return meta.AppliedIndex
}

// plain returns results in a form that can be compared: errors are replaced by their kind.
func plain(results []fsm.Result) []fsm.Result {
	out := slices.Clone(results)
	for i := range out {
		if out[i].Err != nil {
			out[i].Err = fmt.Errorf("%s", task.KindOf(out[i].Err))
		}
	}
	return out
}

// recorder is an observer that writes down what it is told, task by task.
type recorder struct{ seen []sim.Event }

func (r *recorder) Granted(g fsm.Grant) {
	for i := g.First; i < g.First+g.Count; i++ {
		r.seen = append(r.seen, sim.Event{
			Kind: sim.GrantedEvent, Session: g.Session, Job: g.Job, Index: i, Token: uint64(int64(i) + g.TokenOffset), Attempt: g.Attempt,
		})
	}
}

func (r *recorder) Stopping(session, job uint64, index uint32, offset int64) {
	r.seen = append(r.seen, sim.Event{Kind: sim.StoppingEvent, Session: session, Job: job, Index: index, Token: uint64(int64(index) + offset)})
}

func (r *recorder) SessionClosed(session uint64) {
	r.seen = append(r.seen, sim.Event{Kind: sim.ClosedEvent, Session: session})
}

func (r *recorder) Wake() {}

// noHistory is that of a machine that never forgets.
type noHistory struct{}

func (noHistory) Key(string, string) (*logpb.KeyRecord, bool)     { return nil, false }
func (noHistory) Job(uint64) (*logpb.JobRecord, bool)             { return nil, false }
func (noHistory) Append(uint64, uint32) (*logpb.AppendMark, bool) { return nil, false }

func (noHistory) Tokens(_ uint64, tasks []task.Range, f func(task.Range, fsm.LastToken)) {
	for _, r := range tasks {
		f(r, fsm.LastToken{})
	}
}
