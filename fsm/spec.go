package fsm

import (
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// EncodeSpec encodes a spec as it stands in the log and in state.db.
func EncodeSpec(s *task.Spec) ([]byte, error) {
	return proto.Marshal(&logpb.Spec{
		Name: s.Name, Queue: s.Queue, Handler: s.Handler, Command: s.Command, Env: toPairs(s.Env), Cwd: s.Cwd,
		Placeholder: s.Placeholder, Policy: uint32(s.Policy), Serial: s.Serial, MaxParallel: s.MaxParallel,
		Priority: s.Priority, MaxAttempts: s.MaxAttempts, TimeoutNs: int64(s.Timeout), DelayNs: int64(s.Delay),
		NotBeforeNs: s.NotBefore, ExpireNs: int64(s.Expire), Require: toPairs(s.Require), Meta: toPairs(s.Meta),
		RetentionNs: int64(s.Retention), Values: toValues(s.Values), SharedPayload: s.SharedPayload,
	})
}

// DecodeSpec is the inverse of EncodeSpec.
func DecodeSpec(raw []byte) (*task.Spec, error) {
	var p logpb.Spec
	if err := proto.Unmarshal(raw, &p); err != nil {
		return nil, err
	}
	return &task.Spec{
		Name: p.Name, Queue: p.Queue, Handler: p.Handler, Command: p.Command, Env: fromPairs(p.Env), Cwd: p.Cwd,
		Placeholder: p.Placeholder, Policy: task.Policy(p.Policy), Serial: p.Serial, MaxParallel: p.MaxParallel,
		Priority: p.Priority, MaxAttempts: p.MaxAttempts, Timeout: time.Duration(p.TimeoutNs), Delay: time.Duration(p.DelayNs),
		NotBefore: p.NotBeforeNs, Expire: time.Duration(p.ExpireNs), Require: fromPairs(p.Require), Meta: fromPairs(p.Meta),
		Retention: time.Duration(p.RetentionNs), Values: fromValues(p.Values), SharedPayload: p.SharedPayload,
	}, nil
}

func toValues(runs []task.ValueRun) []*logpb.ValueRun {
	var out []*logpb.ValueRun
	for _, r := range runs {
		out = append(out, &logpb.ValueRun{First: r.First, Step: r.Step, Count: r.Count})
	}
	return out
}

func fromValues(runs []*logpb.ValueRun) []task.ValueRun {
	var out []task.ValueRun
	for _, r := range runs {
		out = append(out, task.ValueRun{First: r.First, Step: r.Step, Count: r.Count})
	}
	return out
}

func toPairs(pairs []task.Pair) []*logpb.Pair {
	var out []*logpb.Pair
	for _, p := range pairs {
		out = append(out, &logpb.Pair{Key: p.Key, Value: p.Value})
	}
	return out
}

func fromPairs(pairs []*logpb.Pair) []task.Pair {
	var out []task.Pair
	for _, p := range pairs {
		out = append(out, task.Pair{Key: p.Key, Value: p.Value})
	}
	return out
}

// spec is a decoded spec, shared by all jobs whose specs have the same bytes: a
// client that submits many small jobs sends the same one again and again.
type spec struct {
	*task.Spec
	raw  []byte
	hash uint64
	refs int
	// class is where jobs of this spec stand in line.
	class *class
}

// intern returns the shared spec of these bytes.
func (m *Machine) intern(raw []byte) (*spec, error) {
	if s := m.specs[string(raw)]; s != nil {
		s.refs++
		return s, nil
	}
	decoded, err := DecodeSpec(raw)
	if err != nil {
		return nil, task.Errorf(task.KindInvalid, "malformed spec: %v", err)
	}
	decoded.SetDefaults()
	s := &spec{Spec: decoded, raw: raw, hash: hashBytes(raw), refs: 1}
	s.class = m.classOf(decoded)
	m.specs[string(raw)] = s
	return s, nil
}

// release gives a reference of intern back.
func (m *Machine) release(s *spec) {
	if s.refs--; s.refs == 0 {
		delete(m.specs, string(s.raw))
		if s.class.specs--; s.class.specs == 0 {
			delete(m.classes, s.class.key)
			m.classOrder.Delete(s.class.key)
		}
	}
}

// classKey names what decides where a task can run.
func classKey(s *task.Spec) string {
	var b strings.Builder
	b.WriteString(s.Queue)
	b.WriteByte(0)
	b.WriteString(s.Handler) // "" for commands
	for _, p := range s.Require {
		b.WriteByte(0)
		b.WriteString(p.Key)
		b.WriteByte('=')
		b.WriteString(p.Value)
	}
	return b.String()
}
