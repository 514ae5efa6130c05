package wire

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// SpecToProto translates a spec. Byte slices and the command are shared with it,
// not copied. The spec should be valid: where it names a handler and a command,
// the command is lost.
func SpecToProto(s *task.Spec) *rotav1.JobSpec {
	p := &rotav1.JobSpec{
		Name:          s.Name,
		Queue:         s.Queue,
		Policy:        PolicyToProto(s.Policy),
		MaxParallel:   s.MaxParallel,
		Priority:      s.Priority,
		MaxAttempts:   s.MaxAttempts,
		Timeout:       durationToProto(s.Timeout),
		Delay:         durationToProto(s.Delay),
		Expire:        durationToProto(s.Expire),
		Require:       pairsToProto(s.Require),
		Meta:          pairsToProto(s.Meta),
		Retention:     durationToProto(s.Retention),
		SharedPayload: s.SharedPayload,
	}
	for _, r := range s.Values {
		p.Values = append(p.Values, &rotav1.ValueRun{First: r.First, Step: r.Step, Count: r.Count})
	}
	switch {
	case s.Handler != "":
		p.Work = &rotav1.JobSpec_Handler{Handler: handlerToProto(s)}
	case len(s.Command) > 0:
		p.Work = &rotav1.JobSpec_Command{Command: commandToProto(s)}
	}
	if s.Serial {
		p.Execution = rotav1.Execution_EXECUTION_SERIAL
	}
	if s.NotBefore != 0 {
		p.NotBefore = timestamppb.New(time.Unix(0, s.NotBefore))
	}
	return p
}

// SpecFromProto translates a spec back, with maps as sorted pairs. It refuses what
// has no translation; whether the spec makes sense is for task.Spec.Validate,
// after task.Spec.SetDefaults. Byte slices and the command are shared, not copied.
func SpecFromProto(p *rotav1.JobSpec) (task.Spec, error) {
	if p == nil {
		return task.Spec{}, task.Errorf(task.KindInvalid, "the job has no spec")
	}
	s := task.Spec{
		Name:        p.GetName(),
		Queue:       p.GetQueue(),
		MaxParallel: p.GetMaxParallel(),
		Priority:    p.GetPriority(),
		MaxAttempts: p.GetMaxAttempts(),
		Require:     PairsFromMap(p.GetRequire()),
		Meta:        PairsFromMap(p.GetMeta()),
	}
	if err := checkSpecKnown(p); err != nil {
		return task.Spec{}, err
	}
	if err := laterFields(p, &s); err != nil {
		return task.Spec{}, err
	}
	for _, r := range p.GetValues() {
		s.Values = append(s.Values, task.ValueRun{First: r.GetFirst(), Step: r.GetStep(), Count: r.GetCount()})
	}
	if len(p.GetSharedPayload()) > 0 {
		s.SharedPayload = p.GetSharedPayload()
	}
	if err := workFromProto(&s, p.GetHandler(), p.GetCommand()); err != nil {
		return task.Spec{}, err
	}
	var err error
	if s.Policy, err = PolicyFromProto(p.GetPolicy()); err != nil {
		return task.Spec{}, err
	}
	switch p.GetExecution() {
	case rotav1.Execution_EXECUTION_UNSPECIFIED, rotav1.Execution_EXECUTION_PARALLEL:
	case rotav1.Execution_EXECUTION_SERIAL:
		s.Serial = true
	default:
		return task.Spec{}, unknownEnum("execution", int32(p.GetExecution()))
	}
	for _, d := range []struct {
		name string
		from *durationpb.Duration
		to   *time.Duration
	}{
		{"timeout", p.GetTimeout(), &s.Timeout},
		{"delay", p.GetDelay(), &s.Delay},
		{"expire", p.GetExpire(), &s.Expire},
		{"retention", p.GetRetention(), &s.Retention},
	} {
		if *d.to, err = durationFromProto(d.name, d.from); err != nil {
			return task.Spec{}, err
		}
	}
	if s.NotBefore, err = momentFromProto("the start time", p.GetNotBefore()); err != nil {
		return task.Spec{}, err
	}
	return s, nil
}

func pairsToProto(pairs []task.Pair) map[string]string {
	if len(pairs) == 0 {
		return nil
	}
	m := make(map[string]string, len(pairs))
	for _, p := range pairs {
		m[p.Key] = p.Value
	}
	return m
}

// PairsFromMap returns the entries of a map in the order of their keys.
func PairsFromMap(m map[string]string) []task.Pair {
	if len(m) == 0 {
		return nil
	}
	pairs := make([]task.Pair, 0, len(m))
	for k, v := range m {
		pairs = append(pairs, task.Pair{Key: k, Value: v})
	}
	slices.SortFunc(pairs, func(a, b task.Pair) int { return strings.Compare(a.Key, b.Key) })
	return pairs
}

// durationToProto leaves 0 out: in a spec it means that nothing was said.
func durationToProto(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

// durationFromProto refuses what a time.Duration would silently clamp or turn round.
func durationFromProto(name string, p *durationpb.Duration) (time.Duration, error) {
	if p == nil {
		return 0, nil
	}
	if err := p.CheckValid(); err != nil {
		return 0, task.Errorf(task.KindInvalid, "%s is malformed: %v", name, err)
	}
	d := p.AsDuration()
	if d < 0 || d > task.MaxDelay {
		return 0, task.Errorf(task.KindInvalid, "%s of %d s is out of range: use 0 to %v", name, p.GetSeconds(), task.MaxDelay)
	}
	return d, nil
}

// momentFromProto returns Unix ns; 0 for unset.
func momentFromProto(name string, p *timestamppb.Timestamp) (int64, error) {
	if p == nil {
		return 0, nil
	}
	if err := p.CheckValid(); err != nil {
		return 0, task.Errorf(task.KindInvalid, "%s is malformed: %v", name, err)
	}
	// Unix ns fit into 64 bits until 2262; beyond, UnixNano is undefined.
	const last = int64(1<<63-1)/int64(time.Second) - 1
	if p.GetSeconds() < 0 || p.GetSeconds() > last {
		return 0, task.Errorf(task.KindInvalid, "%s is out of range: use 1970 to 2262", name)
	}
	ns := p.AsTime().UnixNano()
	if ns == 0 {
		// 0 stands for unset; the first moment of 1970 and the next are both long past.
		ns = 1
	}
	return ns, nil
}
