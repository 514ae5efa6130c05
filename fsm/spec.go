package fsm

import (
	"crypto/sha256"
	"errors"
	"strings"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

const (
	// SpecApart is beyond which size a spec stands apart from the records of its jobs, bytes. A
	// record is written with each flush in which its job has changed, the spec once; but it
	// takes two records more.
	SpecApart = 512
	// specInWhole is up to which size the spec of a job that began and ended between two
	// flushes stands in its record all the same: that is written once, too.
	specInWhole = 4 << 10
	// keptValues is up to how many runs of values of a spec on disk stay in memory.
	keptValues = 64
)

// SpecID names a spec by its content: the SHA-256 of its encoding.
type SpecID [sha256.Size]byte

// spec is a decoded spec, shared by all jobs whose specs have the same bytes: a
// client that submits many small jobs sends the same one again and again.
type spec struct {
	// Spec is all of a small one; of one that stands apart, what the machine needs of it.
	*task.Spec
	id SpecID
	// raw is its encoding; nil where it stands apart and is on disk.
	raw  []byte
	size int
	sum  uint64
	refs int
	// needs is the version that it needs; valid is the version by whose rules it was found valid last.
	needs, valid uint32
	// manyValues: Spec lacks its values.
	manyValues bool
	// counted: what is not yet on disk has it in its count.
	counted bool
	// within: a job has it in its own record, as a file of format 2 does. raw is kept then: that
	// job may be the only one on disk by the time it is written anew, with the spec apart.
	within bool

	specDerived
}

func (s *spec) apart() bool { return s.size > SpecApart }

// intern returns the shared spec of these bytes. One that was not there is decoded, whole: a spec that stands apart
// keeps a part of it.
func (m *Machine) intern(raw []byte) (s *spec, decoded *task.Spec, err error) {
	id := SpecID(sha256.Sum256(raw))
	if s := m.specs[id]; s != nil {
		s.refs++
		return s, nil, nil
	}
	if decoded, err = decodeWhole(raw); err != nil {
		return nil, nil, err
	}
	s = &spec{Spec: decoded, id: id, raw: raw, size: len(raw), sum: hashBytes(raw), refs: 1, needs: decoded.Needs()}
	if s.apart() {
		s.Spec, s.manyValues = trimmed(decoded), len(decoded.Values) > keptValues
	}
	s.class = m.classOf(decoded)
	m.specs[id] = s
	return s, decoded, nil
}

// decodeWhole decodes a stored spec and completes it.
func decodeWhole(raw []byte) (*task.Spec, error) {
	s, err := DecodeSpec(raw)
	if errors.Is(err, ErrTooOld) {
		return nil, err
	}
	if err != nil {
		return nil, task.Errorf(task.KindInvalid, "malformed spec: %v", err)
	}
	task.StoredRules.SetDefaults(s)
	return s, nil
}

// readSpec is the spec of a submit that is to be applied, or why it has none.
type readSpec struct {
	spec *spec
	// decoded is all of it; nil: it was there already.
	decoded *task.Spec
	err     error
}

// readSpecs reads the specs of the submits among ops. An error means that this build does not know one of them.
func (m *Machine) readSpecs(ops []*logpb.Op) error {
	m.read = m.read[:0]
	for _, op := range ops {
		o, ok := op.Op.(*logpb.Op_Submit)
		if !ok {
			continue
		}
		s, decoded, err := m.intern(o.Submit.Spec)
		if errors.Is(err, ErrTooOld) {
			for _, r := range m.read {
				m.release(r.spec)
			}
			return err
		}
		m.read = append(m.read, readSpec{s, decoded, err})
	}
	return nil
}

// nextSpec returns the next of the specs that were read.
func (m *Machine) nextSpec() readSpec {
	next := m.read[0]
	m.read[0] = readSpec{}
	m.read = m.read[1:]
	return next
}

// takeSpec returns the spec of a submit, which is the next of those that were read. Whether it is valid does not
// depend on what of it this server has in memory.
func (m *Machine) takeSpec(o *logpb.Submit) (*spec, error) {
	next := m.nextSpec()
	err := m.rules.ValidKey(o.Key)
	if err == nil {
		err = next.err
	}
	if err == nil {
		err = m.checkSpec(next, o.Spec)
	}
	if err != nil {
		m.release(next.spec)
		return nil, err
	}
	return next.spec, nil
}

// checkSpec checks a spec by the rules of the entry, once for all jobs that have it.
func (m *Machine) checkSpec(r readSpec, raw []byte) (err error) {
	if r.spec.valid == m.version {
		return nil
	}
	if err := Supports(m.version, r.spec.needs); err != nil {
		return err
	}
	if r.decoded == nil {
		if r.decoded, err = decodeWhole(raw); err != nil {
			return err
		}
	}
	if err := m.rules.Validate(r.decoded); err != nil {
		return err
	}
	r.spec.valid = m.version
	return nil
}

// trimmed is a spec without what only workers and readers need.
func trimmed(s *task.Spec) *task.Spec {
	out := *s
	out.Command, out.Env, out.Cwd, out.Placeholder, out.Meta, out.SharedPayload, out.Retried = nil, nil, "", "", nil, nil, nil
	out.StdoutPath = ""
	if len(out.Values) > keptValues {
		out.Values = nil
	}
	return &out
}

// release gives a reference of intern back; nil: there is none.
func (m *Machine) release(s *spec) {
	if s == nil {
		return
	}
	if s.refs--; s.refs == 0 {
		delete(m.specs, s.id)
		if s.class.specs--; s.class.specs == 0 {
			m.dropClass(s.class)
		}
	}
}

// classKey names what decides where a task can run: its queue, what a worker must have, and
// whether it needs a free slot.
func classKey(s *task.Spec) string {
	var b strings.Builder
	b.WriteString(s.Queue)
	b.WriteByte(0)
	if s.Exclusive() {
		b.WriteByte(1)
	}
	b.WriteString(s.Handler) // "" for commands
	for _, p := range s.Require {
		b.WriteByte(0)
		b.WriteString(p.Key)
		b.WriteByte('=')
		b.WriteString(p.Value)
	}
	return b.String()
}
