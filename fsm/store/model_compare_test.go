package store

import (
	"maps"
	"math"
	"slices"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/sim"
	"github.com/rota-scheduler/rota/task"
)

// compareEntry compares what every entry can change at little cost.
func (w *world) compareEntry() {
	m := w.state.Machine()
	require.Empty(w, m.CheckInvariants())
	require.Empty(w, w.twin.CheckInvariants())
	index, digest := m.Digest()
	twinIndex, twinDigest := w.twin.Digest()
	require.Equal(w, twinIndex, index)
	require.Equal(w, twinDigest, digest, "the digests differ at index %d", index)
	_, _, clock := m.Applied()
	require.Equal(w, w.model.Clock, clock)
	require.Equal(w, w.model.ClusterID, m.ClusterID())
	for _, j := range w.model.JobList() {
		w.compareRecord(j)
	}
	w.compareSessions(m)
	w.compareSessions(w.twin)
	w.compareServers(m)
	w.compareServers(w.twin)
	w.compareAccess(m)
	w.compareAccess(w.twin)
	w.compareView(m)
	w.compareView(w.twin)
}

// compareAll compares every readable fact.
func (w *world) compareAll() {
	w.compareEntry()
	for _, j := range w.model.JobList() {
		w.compareTasks(j)
		w.compareAttempts(j)
		w.compareResults(j)
		w.comparePayloads(j)
	}
	for id := uint64(1); id < w.model.NextJob; id++ {
		if w.model.Jobs[id] == nil {
			w.compareForgotten(id)
		}
	}
	w.compareKeys()
	w.compareList()
}

func (w *world) compareRecord(j *sim.Job) {
	rec, err := w.state.Job(j.ID)
	require.NoError(w, err)
	counts := j.Counts()
	want := &logpb.JobRecord{
		Id: j.ID, Key: j.Key, KeyHash: []byte(j.Hash), Total: j.Total(), Open: j.Open, Hold: j.Hold, SubmittedNs: j.Submitted, StartedNs: j.Started,
		FinishedNs: j.Finished, LastAppendNs: j.LastAppend, NotBeforeNs: j.NotBefore, ExpireAtNs: j.ExpireAt, Counts: counts[:],
		Frontier: j.Frontier(), Received: uint32(len(j.Outcomes)), RetryOf: j.RetryOf, CancelReason: uint32(j.CancelReason),
		Reason: uint32(j.Reason), OwnPayloads: j.Own, Sweep: j.Sweep, Retrying: j.Retrying(), DueNs: j.Due,
	}
	got := proto.CloneOf(rec)
	got.Spec, got.SpecId, got.SpecSum, got.RetentionNs, got.Sum, got.Appends, got.InlineTasks, got.InlineSegments = nil, nil, 0, 0, 0, nil, nil, nil
	got.AttemptsSum = 0
	require.True(w, proto.Equal(want, got), "job %d: want %v, got %v", j.ID, want, got)
	state := counts.JobState(j.Total(), j.Open, j.Started != 0)
	if j.CancelReason != 0 && state == task.JobSucceeded {
		state = task.JobCancelled // it was cancelled while it grew
	}
	require.Equal(w, state, JobState(rec))
	spec, err := w.state.Spec(rec)
	require.NoError(w, err)
	require.Equal(w, j.Spec, spec)
	w.countSpec(rec)
	_, inMemory := w.state.Machine().Job(j.ID)
	require.True(w, inMemory || j.Finished != 0, "job %d has left memory and is not final", j.ID)
}

// countSpec counts where the spec of a record was.
func (w *world) countSpec(rec *logpb.JobRecord) {
	ref, inMemory := w.state.Machine().SpecOf(rec.Id)
	switch {
	case len(rec.SpecId) == 0 && len(rec.Spec) > fsm.SpecApart:
		w.paths["large spec within a record"]++
	case len(rec.SpecId) == 0:
	case inMemory && ref.Raw != nil:
		w.paths["spec apart, in memory"]++
	default:
		w.paths["spec apart, on disk"]++
	}
}

func (w *world) compareTasks(j *sim.Job) {
	m := w.state.Machine()
	for i, want := range j.Tasks {
		i := uint32(i)
		cursor, final, err := w.state.Cursor(j.ID, i)
		require.NoError(w, err)
		require.Equal(w, want.State.Final(), final, "task %d.%d", j.ID, i)
		if final {
			require.Equal(w, want.Cursor, cursor, "task %d.%d", j.ID, i)
		}
		if _, final, known := m.Cursor(j.ID, i); final && !known {
			w.paths["page done"]++
			if w.lives > 1 {
				w.paths["page done and reloaded"]++
			}
		}
		for _, m := range []*fsm.Machine{m, w.twin} {
			got, known := m.Task(j.ID, i)
			if !known {
				require.True(w, want.State.Final(), "task %d.%d is %v, and memory does not know", j.ID, i, want.State)
				continue
			}
			expected := fsm.Task{State: want.State, Reason: want.Reason, Attempt: want.Attempt, Token: want.Token, Session: want.Session, NotBefore: want.NotBefore}
			if want.State == task.Scheduled && !want.Touched {
				expected.NotBefore = j.NotBefore
			}
			if want.State == task.Assigned && j.CancelReason != 0 { // the sweep has not come to it
				expected.State, expected.Reason = task.Stopping, j.CancelReason
			}
			if s := w.model.Sessions[want.Session]; s != nil {
				expected.Worker = workerName(s)
			}
			require.Equal(w, expected, got, "task %d.%d", j.ID, i)
		}
	}
}

// compareAttempts compares what is kept of attempts that did not end their tasks.
func (w *world) compareAttempts(j *sim.Job) {
	for i, t := range j.Tasks {
		i := uint32(i)
		var want, got []sim.Attempt
		want = append(want, t.Tried[max(0, len(t.Tried)-task.MaxAttemptsKept):]...)
		kept, err := w.state.Attempts(j.ID, i, t.Attempt)
		require.NoError(w, err)
		for _, a := range kept {
			got = append(got, sim.AttemptOf(a, i))
		}
		require.Equal(w, want, got, "attempts of task %d.%d", j.ID, i)
		switch {
		case len(t.Tried) > task.MaxAttemptsKept:
			w.paths["attempts beyond those that are kept"]++
		case len(got) > 1:
			w.paths["several attempts"]++
		}
	}
}

func workerName(s *sim.Session) string {
	if s.Name != "" {
		return s.Name
	}
	return s.Worker
}

// outcome is one result, as a reader of the stream sees it.
type outcome struct {
	index    uint32
	state    task.State
	reason   task.Reason
	attempt  uint32
	granted  bool
	token    uint64
	worker   string
	exit     int32
	err      string
	stderr   string
	usage    string
	output   string
	missing  uint64
	head     uint32
	finished int64
}

// compareResults reads the stream of results from the start, and from the middle.
func (w *world) compareResults(j *sim.Job) {
	var want []outcome
	for _, i := range j.Outcomes {
		t := j.Tasks[i]
		o := outcome{
			index: i, state: t.State, reason: t.Reason, attempt: t.Attempt, granted: t.GrantedWhenEnded, worker: t.Worker,
			exit: t.ExitCodePlusOne, err: t.Error, stderr: string(t.Stderr), output: string(t.Output), finished: t.FinishedAt,
			usage:   string(t.Usage),
			missing: t.OutputMissing, head: t.OutputHead,
		}
		if o.granted {
			o.token = t.Token
		}
		want = append(want, o)
	}
	require.Equal(w, want, w.readResults(j.ID, 0, 300), "results of job %d", j.ID)
	if middle := len(want) / 2; middle > 0 {
		require.Equal(w, want[middle:], w.readResults(j.ID, uint32(middle), 1<<20), "results of job %d from %d on", j.ID, middle)
	}
}

func (w *world) readResults(job uint64, cursor uint32, limit int) (out []outcome) {
	for {
		segments, err := w.state.Segments(job, cursor, limit)
		require.NoError(w, err)
		if len(segments) == 0 {
			return out
		}
		require.LessOrEqual(w, segments[0].First, cursor)
		for _, s := range segments {
			at, outputs, usages := s.First, s.Segment.PackedOutputs, s.Segment.PackedUsage
			for _, rg := range s.Segment.Ranges {
				for i := rg.First; i < rg.First+rg.Count; i++ {
					var output, usage []byte
					output, outputs, _ = task.PackNext(outputs)
					usage, usages, _ = task.PackNext(usages)
					if at == cursor {
						out = append(out, outcomeOf(s.Segment, i, output, usage))
						cursor++
					}
					at++
				}
			}
			require.Equal(w, s.First+s.Count, at)
		}
	}
}

func outcomeOf(s *logpb.Segment, i uint32, output, usage []byte) outcome {
	o := outcome{
		index: i, state: task.State(s.State), reason: task.Reason(s.Reason), attempt: s.Attempt, granted: s.Granted, worker: s.Worker,
		exit: s.ExitCodePlusOne, err: s.Error, stderr: string(s.StderrTail), output: string(output), finished: s.FinishedNs, usage: string(usage),
		missing: s.OutputMissing, head: s.OutputHead,
	}
	if s.Granted {
		o.token = uint64(int64(i) + s.TokenOffset)
	}
	return o
}

func (w *world) comparePayloads(j *sim.Job) {
	if !j.Own {
		return
	}
	_, inMemory := w.state.Machine().Payloads(j.ID, 0, j.Total())
	_, lastInMemory := w.state.Machine().Payloads(j.ID, j.Total()-1, 1)
	if lastInMemory && !inMemory {
		w.paths["payloads from disk and memory"]++
	}
	for _, first := range []uint32{0, j.Total() / 2, j.Total() - 1} {
		var want []byte
		for _, t := range j.Tasks[first:] {
			want = task.PackAppend(want, t.Payload)
		}
		got, err := w.state.Payloads(j.ID, first, j.Total()-first)
		require.NoError(w, err)
		require.Equal(w, want, got, "payloads of job %d from %d on", j.ID, first)
	}
	_, err := w.state.Payloads(j.ID, j.Total()-1, 2)
	require.ErrorIs(w, err, task.ErrNotFound)
}

// compareForgotten checks that nothing of a collected job can be read.
func (w *world) compareForgotten(id uint64) {
	_, err := w.state.Job(id)
	require.ErrorIs(w, err, task.ErrNotFound)
	_, err = w.state.Payloads(id, 0, 1)
	require.ErrorIs(w, err, task.ErrNotFound)
	segments, err := w.state.Segments(id, 0, 1)
	require.True(w, len(segments) == 0 && (err == nil || task.KindOf(err) == task.KindNotFound), "%v %v", segments, err)
	_, final, err := w.state.Cursor(id, 0)
	require.True(w, !final && (err == nil || task.KindOf(err) == task.KindNotFound), "%v", err)
}

// compareAccess compares the access tokens with the model's.
func (w *world) compareAccess(m *fsm.Machine) {
	want := w.model.AccessList()
	require.Len(w, m.AccessTokens(), len(want))
	for _, t := range want {
		got, ok := m.AccessToken(t.Hash)
		require.True(w, ok && proto.Equal(t, got), "the token %v, the model has %v", got, t)
	}
}

func (w *world) compareServers(m *fsm.Machine) {
	want, got := w.model.ServerList(), m.Servers()
	require.Len(w, got, len(want))
	for i := range want {
		require.True(w, proto.Equal(want[i], got[i]), "want %v, got %v", want[i], got[i])
	}
	removed := m.Removed()
	require.Len(w, removed, len(w.model.Removed))
	for i, want := range w.model.Removed {
		require.True(w, proto.Equal(want, removed[i]), "want %v, got %v", want, removed[i])
	}
}

func (w *world) compareSessions(m *fsm.Machine) {
	sessions := m.Sessions()
	require.Len(w, sessions, len(w.model.Sessions))
	for _, s := range sessions {
		want := w.model.Sessions[s.Id]
		require.NotNil(w, want, "session %d", s.Id)
		require.True(w, proto.Equal(want.Session, s.Session), "want %v, got %v", want.Session, s.Session)
		held := w.model.Held(s.Id)
		require.Len(w, held, int(s.Assigned))
		byWorker, ok := m.SessionOf(s.Worker)
		require.True(w, ok)
		require.Equal(w, s.Id, byWorker.Id)
		var got []sim.Event
		require.True(w, m.Held(s.Id, func(h fsm.HeldTask) {
			for i := h.First; i < h.First+h.Count; i++ {
				j := w.model.Jobs[h.Job]
				require.Equal(w, j.Tasks[i].State == task.Stopping || j.CancelReason != 0, h.Stopping)
				got = append(got, sim.Event{Session: h.Session, Job: h.Job, Index: i, Token: uint64(int64(i) + h.TokenOffset), Attempt: h.Attempt})
			}
		}))
		require.Equal(w, held, got)
	}
}

// compareView checks that a view shows what there is room for, in order, and nothing else.
func (w *world) compareView(m *fsm.Machine) {
	w.looked = max(w.looked, w.model.Clock)
	v, _ := m.AdvanceAndView(w.looked, 0, func(sessions []fsm.SessionView) {
		for i := range sessions {
			s := &sessions[i]
			s.Extra = []int32{0, 1, 100, fsm.Away, task.MaxOutstanding}[(s.ID+w.model.NextToken)%5]
		}
	})
	require.Zero(w, v.Next)
	require.Empty(w, w.model.CheckView(v))
	var due []uint64
	for _, j := range w.model.JobList() {
		if j.Finished == 0 && (j.Sweep != 0 || j.ExpireAt > 0 && j.ExpireAt <= v.Now || j.Open && j.LastAppend+int64(task.OpenTimeout) <= v.Now) {
			due = append(due, j.ID)
		}
	}
	got, _ := m.Due(v.Now, 1000)
	require.ElementsMatch(w, due, got)
}

func (w *world) compareKeys() {
	for _, queue := range queues {
		for _, key := range requestKeys {
			job, hash, ok := w.state.Machine().KeyJob(queue, key)
			want := w.model.Keys[sim.KeyName{Queue: queue, Key: key}]
			require.Equal(w, want != nil, ok, "key %s in %s", key, queue)
			if ok {
				require.Equal(w, want.Job, job)
				require.Equal(w, want.Hash, hash)
			}
		}
	}
}

// compareList reads the list of jobs in pages.
func (w *world) compareList() {
	want := slices.Sorted(maps.Keys(w.model.Jobs))
	slices.Reverse(want)
	var got []uint64
	for below, done := uint64(0), false; !done; {
		page, next, _, err := w.state.JobsBelow(below, 3)
		require.NoError(w, err)
		require.LessOrEqual(w, len(page), 3)
		for _, r := range page {
			spec, err := w.state.Spec(r)
			require.NoError(w, err)
			require.Nil(w, spec.SharedPayload)
			spec.SharedPayload = w.model.Jobs[r.Id].Spec.SharedPayload
			require.Equal(w, w.model.Jobs[r.Id].Spec, spec)
			got = append(got, r.Id)
		}
		below, done = next, next == 0
	}
	require.Equal(w, want, got)
}

// compareFlushed compares what is due, which is known from what is on disk.
func (w *world) compareFlushed() {
	jobs, keys, err := w.state.Due(math.MaxInt64, 1000)
	require.NoError(w, err)
	var wantJobs []uint64
	for _, j := range w.model.JobList() {
		if j.Finished != 0 {
			wantJobs = append(wantJobs, j.ID)
			rec, _ := w.state.Job(j.ID)
			if rec.InlineTasks != nil || rec.InlineSegments != nil {
				w.paths["inline job"]++
			}
		}
	}
	require.ElementsMatch(w, wantJobs, jobs)
	var wantKeys, gotKeys []sim.KeyName
	for name, k := range w.model.Keys {
		if k.Expires != 0 {
			wantKeys = append(wantKeys, name)
		}
	}
	for _, k := range keys {
		gotKeys = append(gotKeys, sim.KeyName{Queue: k.Queue, Key: k.Key})
	}
	require.ElementsMatch(w, wantKeys, gotKeys)
	stats := w.state.Machine().Stats()
	require.Zero(w, stats.Keys)
	require.Zero(w, stats.DirtyBytes)
	require.Zero(w, stats.FlushingBytes)
	require.Equal(w, len(w.model.Jobs)-len(wantJobs), stats.Jobs, "jobs in memory after a flush")
}
