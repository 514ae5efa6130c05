package fsm

import (
	"errors"
	"fmt"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// The version of the log selects what Apply does. The active version is a part of the state: every
// server has the same one at the same index, whatever its build knows. It rises by a SetVersion, which
// a leader proposes once all voters know the next version, and never falls.
//
// An entry says which version its leader had. Entries behind a rise that were made before it mean what
// the active version means: the state may already hold what theirs did not know.
//
// Before version 3 there was no gate. The entries of such a log mean what each of them says, until the
// first SetVersion.

const (
	// Version is the newest version that this build knows.
	Version = task.Version
	// GateVersion is the first one that is a part of the state. New clusters begin with it.
	GateVersion = 3
	// ungatedVersion is the one in which entries are written for a cluster that had none.
	ungatedVersion = GateVersion - 1
	// attemptsVersion is the first one in which attempts leave records.
	attemptsVersion = 2
	// printedVersion is the first one in which a task that is cancelled while it runs keeps what it has printed,
	// and in which records say how much of a standard error is missing.
	printedVersion = 4
	// RemovalVersion is the first one in which servers are removed.
	RemovalVersion = 4
)

// ErrTooOld says that this build does not know what it would have to apply, or to load. Its server must stop.
// What it has on its disk is whole.
var ErrTooOld = errors.New("this build of rota is too old")

// errTooOld is ErrTooOld with what this build does not know.
func errTooOld(format string, args ...any) error {
	return fmt.Errorf("%w: %s; its data is whole: start the newer build again (see rota cluster status)", ErrTooOld, fmt.Sprintf(format, args...))
}

// CheckVersion says whether this build knows a version of the log that a state has.
func CheckVersion(version uint32) error {
	if version > Version {
		return errTooOld("it knows versions of the log up to %d, and the state has version %d", Version, version)
	}
	return nil
}

// Supports returns an error for what needs a version that is not active yet.
func Supports(active, needs uint32) error {
	if needs <= active {
		return nil
	}
	return task.Errorf(task.KindUnsupported,
		"this needs version %d of the log, and the cluster is at version %d: upgrade all of its servers (rota cluster status shows what each of them knows)", needs, active)
}

// Needs is the first version that has an op, as it is. What the spec of a submit needs, the spec says.
func Needs(op *logpb.Op) uint32 {
	switch o := op.Op.(type) {
	case *logpb.Op_SetVersion:
		return GateVersion
	case *logpb.Op_CreateAccessToken, *logpb.Op_RevokeAccessToken:
		return accessVersion
	case *logpb.Op_Report:
		return reportNeeds(o.Report.Groups)
	case *logpb.Op_OpenSession:
		return reportNeeds(o.OpenSession.Reports)
	case *logpb.Op_RemoveServer:
		return RemovalVersion
	}
	return laterNeeds(op)
}

func reportNeeds(groups []*logpb.ReportGroup) uint32 {
	for _, g := range groups {
		if g.StderrMissing > 0 {
			return printedVersion
		}
	}
	return 1
}

// ActiveVersion is the active version, in which entries are to be written. It does not wait for Apply.
func (m *Machine) ActiveVersion() uint32 { return m.writes.Load() }

// setActive makes a version the active one; 0: no entry was applied yet.
func (m *Machine) setActive(version uint32) {
	if version != 0 {
		version = max(version, ungatedVersion)
	}
	m.active = version
	m.use(max(version, 1))
	if version == 0 {
		version = GateVersion
	}
	m.writes.Store(version)
}

// use lets Apply do what a version means.
func (m *Machine) use(version uint32) {
	if m.version != version || m.rules == nil {
		m.version, m.rules = version, rulesOf(version)
	}
}

// versionOf returns the version whose semantics an entry has.
func (m *Machine) versionOf(e *logpb.Entry) uint32 {
	switch {
	case raises(e):
		return max(e.Version, m.active)
	case m.active == 0:
		return min(e.Version, GateVersion)
	case m.active < GateVersion:
		return min(e.Version, m.active)
	}
	return m.active
}

// begin has an entry applied as a version means it.
func (m *Machine) begin(version uint32) {
	if m.active == 0 {
		m.setActive(max(version, ungatedVersion))
	}
	m.use(version)
}

// raises says that an entry begins with a rise to its own version.
func raises(e *logpb.Entry) bool {
	if len(e.Ops) == 0 {
		return false
	}
	o, ok := e.Ops[0].Op.(*logpb.Op_SetVersion)
	return ok && o.SetVersion.Version == e.Version
}

// setVersion raises the active version. Its entry has it, or a later one, already.
func (m *Machine) setVersion(o *logpb.SetVersion, r *Result) {
	switch {
	case o.Version <= m.active:
		r.Existed = true
	case o.Version != m.version:
		r.Err = task.Errorf(task.KindInvalid, "a rise to version %d of the log in an entry of version %d", o.Version, m.version)
	default:
		m.setActive(o.Version)
		m.tell(Event{Kind: task.EventVersion, Version: o.Version})
	}
}
