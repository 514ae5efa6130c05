package sim

import (
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// begin finds out what an entry of a version means.
func (m *Model) begin(version uint32, ops []*logpb.Op) {
	if len(ops) > 0 && ops[0].GetSetVersion().GetVersion() == version {
		m.version = max(version, m.Active)
	} else if m.Active >= fsm.GateVersion {
		m.version = m.Active
		if version < m.Active {
			m.saw("entry from before the rise")
		}
	} else {
		m.version = version
	}
	if m.Active == 0 {
		m.Active = max(m.version, fsm.GateVersion-1)
	}
	m.rules = task.RulesOf(m.version)
}

func (m *Model) setVersion(o *logpb.SetVersion, r *fsm.Result) {
	switch {
	case m.version < fsm.GateVersion:
		refuse(r, task.KindUnsupported)
	case o.Version <= m.Active:
		r.Existed = true
	case o.Version != m.version:
		refuse(r, task.KindInvalid)
	default:
		m.saw("version raised")
		m.Active = o.Version
	}
}
