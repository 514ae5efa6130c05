package sim

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// putServer records a server, in the place of any other of its node id.
func (m *Model) putServer(o *logpb.PutServer, r *fsm.Result) {
	s := o.Server
	if kind := serverFault(s); kind != "" {
		refuse(r, kind)
		return
	}
	old := m.Servers[s.NodeId]
	switch {
	case m.wasRemoved(s.NodeId, s.ServerId):
		m.saw("server recorded that was removed")
		refuse(r, task.KindConflict)
	case old == nil && len(m.Servers) == task.MaxServers:
		m.saw("server beyond the limit")
		refuse(r, task.KindExhausted)
	case old != nil && proto.Equal(old, s):
		m.saw("server recorded again")
		r.Existed = true
	default:
		if old != nil {
			m.saw("server moved")
		}
		m.Servers[s.NodeId] = s
	}
}

// deleteServer forgets a server, unless another one has its node id by now.
func (m *Model) deleteServer(o *logpb.DeleteServer, r *fsm.Result) {
	if s := m.Servers[o.NodeId]; s == nil || s.ServerId != o.ServerId {
		refuse(r, task.KindNotFound)
		return
	}
	m.saw("server forgotten")
	delete(m.Servers, o.NodeId)
}

// removalVersion is the version that brought removals.
const removalVersion = 4

// removeServer forgets a server for good.
func (m *Model) removeServer(o *logpb.RemoveServer, r *fsm.Result) {
	switch {
	case m.version < removalVersion:
		refuse(r, task.KindUnsupported)
		return
	case !nodeID(o.NodeId), !nodeID(o.ServerId):
		refuse(r, task.KindInvalid)
		return
	}
	if s := m.Servers[o.NodeId]; s != nil && s.ServerId == o.ServerId {
		delete(m.Servers, o.NodeId)
	}
	if m.wasRemoved(o.NodeId, o.ServerId) {
		m.saw("server removed again")
		r.Existed = true
		return
	}
	m.saw("server removed")
	m.Removed = append(m.Removed, &logpb.RemovedServer{NodeId: o.NodeId, ServerId: o.ServerId})
	if len(m.Removed) > task.MaxRemovedServers {
		m.saw("oldest removal forgotten")
		m.Removed = m.Removed[1:]
	}
}

func (m *Model) wasRemoved(nodeID, serverID string) bool {
	return slices.ContainsFunc(m.Removed, func(s *logpb.RemovedServer) bool { return s.NodeId == nodeID && s.ServerId == serverID })
}

// serverFault is why a record cannot be taken; "": it can.
func serverFault(s *logpb.ServerRecord) task.Kind {
	if s == nil {
		return task.KindInvalid
	}
	for _, id := range []string{s.NodeId, s.ServerId} {
		if !nodeID(id) {
			return task.KindInvalid
		}
	}
	texts := []struct {
		text  string
		limit int
		must  bool
	}{{s.Addr, task.MaxAddr, true}, {s.PeerAddr, task.MaxAddr, true}, {s.HttpAddr, task.MaxAddr, false}, {s.Version, task.MaxName, false}}
	for _, t := range texts {
		switch {
		case len(t.text) > t.limit:
			return task.KindTooLarge
		case t.text == "" && t.must, strings.ContainsAny(t.text, "\x00\n\x1b") || !utf8.ValidString(t.text):
			return task.KindInvalid
		}
	}
	return ""
}

// nodeID says whether an id is one that a server can have.
func nodeID(id string) bool {
	return id != "" && len(id) <= task.MaxNodeID && !strings.ContainsFunc(id, func(c rune) bool {
		return c != '.' && c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
	})
}

// ServerList returns the servers in order of their node ids.
func (m *Model) ServerList() []*logpb.ServerRecord {
	return slices.SortedFunc(maps.Values(m.Servers), func(a, b *logpb.ServerRecord) int { return cmp.Compare(a.NodeId, b.NodeId) })
}
