package cluster

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/internal/sim"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
)

// unfinished says what is not yet over; "": everything is final everywhere.
func (r *Run) unfinished() string {
	var first uint64
	for i, s := range r.c.Servers {
		n := s.Node()
		if n == nil {
			return s.Name + " does not run"
		}
		m := n.State().Machine()
		if i == 0 {
			first = m.AppliedIndex()
		} else if got := m.AppliedIndex(); got != first {
			return fmt.Sprintf("%s has applied up to %d, %s up to %d", r.c.Servers[0].Name, first, s.Name, got)
		}
		if active := m.ActiveVersion(); active != fsm.Version {
			return fmt.Sprintf("%s is at version %d of the log, and all servers know %d", s.Name, active, fsm.Version)
		}
		for _, rec := range m.JobsBelow(0, 1<<20) {
			if !store.JobState(rec).Final() {
				return fmt.Sprintf("%s: job %d is %v, with tasks by state %v", s.Name, rec.Id, store.JobState(rec), rec.Counts)
			}
		}
	}
	return ""
}

// checkFinal compares every server, and all that anybody was told, with the log.
func (r *Run) checkFinal(ctx context.Context) {
	l, err := r.c.WaitLeader(ctx)
	if err != nil {
		r.history.problem("no leader in the end")
		return
	}
	n := l.Node()
	if err := n.Barrier(ctx); err != nil {
		r.history.problem("the last barrier: %v", err)
		return
	}
	index := n.State().Machine().AppliedIndex()
	for _, s := range r.c.Servers {
		if err := s.Node().WaitApplied(ctx, index); err != nil {
			r.history.problem("%s has not reached index %d: %v", s.Name, index, err)
			return
		}
	}
	model := r.replay(index)
	if model == nil {
		return
	}
	r.checkDigests(index)
	for _, s := range r.c.Servers {
		r.checkServer(s.Name, s.Node(), model)
	}
	r.history.settle(model)
}

// wholeLog puts the committed log together from what the servers have of it, from its end backwards. Below a
// snapshot that came from a leader, a server may keep entries that were never committed. No committed entry follows
// those, so an entry counts only if the next one on the same server is the right one.
func (r *Run) wholeLog(to uint64) []*raft.Log {
	type disk struct {
		server string
		log    map[uint64]*raft.Log
	}
	var disks []disk
	for _, s := range r.c.Servers {
		for _, stores := range s.Disks() {
			d := disk{s.Name, map[uint64]*raft.Log{}}
			stores.History(to+1, func(l *raft.Log) { d.log[l.Index] = l })
			disks = append(disks, d)
		}
	}
	out := make([]*raft.Log, to+1)
	for index := to; index > 0; index-- {
		for _, d := range disks {
			l, next := d.log[index], d.log[index+1]
			if l == nil || index < to && !same(next, out[index+1]) {
				continue
			}
			if have := out[index]; have == nil {
				out[index] = l
			} else if !same(have, l) {
				r.history.problem("log entry %d of %s is of term %d, another server has it of term %d", index, d.server, l.Term, have.Term)
			}
		}
		if out[index] == nil {
			r.history.problem("no server has log entry %d", index)
			return nil
		}
	}
	return out[1:]
}

func same(a, b *raft.Log) bool {
	return a != nil && b != nil && a.Term == b.Term && a.Type == b.Type && bytes.Equal(a.Data, b.Data)
}

// replay applies the log to the reference model, and checks each grant, and the order of plans, on
// the way.
func (r *Run) replay(to uint64) *sim.Model {
	log := r.wholeLog(to)
	if log == nil {
		return nil
	}
	m := sim.NewModel()
	line := &sim.Line{}
	promises := r.history.promises
	for _, l := range log {
		if l.Type != raft.LogCommand {
			continue
		}
		e, err := fsm.DecodeEntry(l.Data)
		if err != nil {
			r.history.problem("%v", err)
			return nil
		}
		for _, wrong := range line.Look(m, l.Term, e.ClockNs, e.Ops) {
			r.history.problem("log entry %d: %s", l.Index, wrong)
		}
		m.Apply(l.Index, e.Version, e.ClockNs, e.Ops)
		for _, ev := range m.Events {
			if ev.Kind != sim.GrantedEvent {
				continue
			}
			promises.Granted(l.Index, sim.AttemptKey{ID: task.ID{Job: ev.Job, Index: ev.Index}, Token: ev.Token})
			if j := m.Jobs[ev.Job]; j.Spec.Serial {
				r.checkSerial(l.Index, j)
			}
		}
	}
	return m
}

// checkSerial checks that one task of a serial job is under way, and none behind it ended.
func (r *Run) checkSerial(index uint64, j *sim.Job) {
	held := 0
	for i, t := range j.Tasks {
		if t.State.Held() {
			held++
		}
		if i > 0 && t.Attempt > 0 && !j.Tasks[i-1].State.Final() {
			r.history.problem("index %d: task %d.%d was granted before the one before it was final", index, j.ID, i)
		}
	}
	if held > 1 {
		r.history.problem("index %d: serial job %d has %d tasks under way", index, j.ID, held)
	}
}

// checkDigests compares the digests at the end and at each checkpoint.
func (r *Run) checkDigests(index uint64) {
	marks := map[uint64]string{}
	for _, s := range r.c.Servers {
		m := s.Node().State().Machine()
		at, digest := m.Digest()
		if at == index {
			r.history.digest(s.Name, at, digest)
		}
		for _, id := range r.history.checkpoints {
			if at, digest, ok := m.DigestAt(id); ok {
				mark := fmt.Sprintf("%x at index %d", digest, at)
				if first, known := marks[id]; known && first != mark {
					r.history.problem("checkpoint %d: %s has digest %s, another server %s", id, s.Name, mark, first)
				}
				marks[id] = mark
			}
		}
		for _, wrong := range m.CheckInvariants() {
			r.history.problem("%s: %s", s.Name, wrong)
		}
	}
}

// checkServer compares the jobs and results of a server with the model.
func (r *Run) checkServer(name string, n *node.Node, m *sim.Model) {
	want, got := m.ServerList(), n.State().Machine().Servers()
	if !slices.EqualFunc(want, got, func(a, b *logpb.ServerRecord) bool { return proto.Equal(a, b) }) {
		r.history.problem("%s has recorded the servers %v, the log makes them %v", name, got, want)
	}
	if got := n.State().Machine().Removed(); !slices.EqualFunc(m.Removed, got, func(a, b *logpb.RemovedServer) bool { return proto.Equal(a, b) }) {
		r.history.problem("%s has the removed servers %v, the log makes them %v", name, got, m.Removed)
	}
	for _, j := range m.JobList() {
		rec, err := n.State().Job(j.ID)
		if err != nil {
			r.history.problem("%s: job %d: %v", name, j.ID, err)
			continue
		}
		counts := j.Counts()
		if rec.Total != j.Total() || rec.FinishedNs != j.Finished || rec.Key != j.Key || !equal(rec.Counts, counts[:]) {
			r.history.problem("%s: job %d is %v, the log makes it %v", name, j.ID, rec, j)
		}
		var results []store.Result
		for next := uint32(0); next < rec.Total; {
			some, err := n.State().Ordered(j.ID, next, int(rec.Total-next))
			if err != nil || len(some) == 0 {
				r.history.problem("%s: job %d has no result of task %d: %v", name, j.ID, next, err)
				break
			}
			results = append(results, some...)
			next += uint32(len(some))
		}
		r.history.saw(name, j.ID, results)
		for _, res := range results {
			if int(res.Index) >= len(j.Tasks) {
				continue
			}
			if got, want := sim.OutcomeOf(res.Index, res.Cursor, res.Segment, res.Output), j.Tasks[res.Index].Outcome(res.Index); got != want {
				r.history.problem("%s: task %d.%d ended as %+v, the log says %+v", name, j.ID, res.Index, got, want)
			}
		}
		r.checkAttempts(name, n, j)
	}
}

// checkAttempts compares what a server keeps of the attempts that did not end their tasks with the model.
func (r *Run) checkAttempts(name string, n *node.Node, j *sim.Job) {
	for i, t := range j.Tasks {
		if t.Attempt < 2 && len(t.Tried) == 0 {
			continue // nothing to find: most are like that
		}
		kept, err := n.State().Attempts(j.ID, uint32(i), t.Attempt)
		var got []sim.Attempt
		for _, a := range kept {
			got = append(got, sim.AttemptOf(a, uint32(i)))
		}
		want := t.Tried[max(0, len(t.Tried)-task.MaxAttemptsKept):]
		if err != nil || !slices.Equal(got, want) {
			r.history.problem("%s: task %d.%d was tried as %+v (%v), the log says %+v", name, j.ID, i, got, err, want)
		}
	}
}

func equal(a, b []uint32) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
