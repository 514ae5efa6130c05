package fsm

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// EncodeSpec encodes a spec as it stands in the log and in state.db.
func EncodeSpec(s *task.Spec) ([]byte, error) {
	p := &logpb.Spec{
		Name: s.Name, Queue: s.Queue, Handler: s.Handler, Command: s.Command, Env: toPairs(s.Env), Cwd: s.Cwd,
		Placeholder: s.Placeholder, Policy: uint32(s.Policy), Serial: s.Serial, MaxParallel: s.MaxParallel,
		Priority: s.Priority, MaxAttempts: s.MaxAttempts, TimeoutNs: int64(s.Timeout), DelayNs: int64(s.Delay),
		NotBeforeNs: s.NotBefore, ExpireNs: int64(s.Expire), Require: toPairs(s.Require), Meta: toPairs(s.Meta),
		RetentionNs: int64(s.Retention), Values: toValues(s.Values), SharedPayload: s.SharedPayload,
		Retried: toIndexes(s.Retried),
		Stdout:  uint32(s.Stdout), StdoutPath: s.StdoutPath,
	}
	toLater(p)
	return proto.Marshal(p)
}

// DecodeSpec is the inverse of EncodeSpec. The shared payload shares memory with raw.
func DecodeSpec(raw []byte) (*task.Spec, error) {
	head, payload, err := cutPayload(raw)
	if err != nil {
		return nil, err
	}
	s, err := decodeHead(head)
	if err != nil {
		return nil, err
	}
	s.SharedPayload = payload
	return s, nil
}

// DecodeSpecHead is DecodeSpec without the shared payload.
func DecodeSpecHead(raw []byte) (*task.Spec, error) {
	head, _, err := cutPayload(raw)
	if err != nil {
		return nil, err
	}
	return decodeHead(head)
}

func decodeHead(head []byte) (*task.Spec, error) {
	var p logpb.Spec
	if err := proto.Unmarshal(head, &p); err != nil {
		return nil, err
	}
	if unknownInSpec(&p) {
		return nil, errTooOld("the spec of a job has fields that it does not know")
	}
	s := &task.Spec{
		Name: p.Name, Queue: p.Queue, Handler: p.Handler, Command: p.Command, Env: fromPairs(p.Env), Cwd: p.Cwd,
		Placeholder: p.Placeholder, Policy: task.Policy(p.Policy), Serial: p.Serial, MaxParallel: p.MaxParallel,
		Priority: p.Priority, MaxAttempts: p.MaxAttempts, Timeout: time.Duration(p.TimeoutNs), Delay: time.Duration(p.DelayNs),
		NotBefore: p.NotBeforeNs, Expire: time.Duration(p.ExpireNs), Require: fromPairs(p.Require), Meta: fromPairs(p.Meta),
		Retention: time.Duration(p.RetentionNs), Values: fromValues(p.Values), Retried: fromIndexes(p.Retried),
		Stdout: task.Stdout(p.Stdout), StdoutPath: p.StdoutPath,
	}
	fromLater(&p, s)
	return s, nil
}

// payloadField is the number of Spec.shared_payload.
const payloadField = 21

// cutPayload takes the shared payload out of an encoded spec, and returns the rest. Where the
// payload stands last, as EncodeSpec puts it but for what few specs have, nothing is copied.
func cutPayload(raw []byte) (head, payload []byte, err error) {
	head = raw[:0:0]
	for at := 0; at < len(raw); {
		number, kind, n := protowire.ConsumeField(raw[at:])
		if n < 0 {
			return nil, nil, protowire.ParseError(n)
		}
		field := raw[at : at+n]
		switch {
		case number == payloadField && kind == protowire.BytesType:
			_, _, tag := protowire.ConsumeTag(field)
			payload, _ = protowire.ConsumeBytes(field[tag:])
		case len(head) == at:
			head = raw[: at+n : at+n]
		default:
			head = append(head, field...)
		}
		at += n
	}
	return head, payload, nil
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

func toIndexes(runs []task.Range) []*logpb.Range {
	var out []*logpb.Range
	for _, r := range runs {
		out = append(out, &logpb.Range{First: r.First, Count: r.Count})
	}
	return out
}

func fromIndexes(runs []*logpb.Range) []task.Range {
	var out []task.Range
	for _, r := range runs {
		out = append(out, task.Range{First: r.First, Count: r.Count})
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
