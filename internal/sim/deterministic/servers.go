package deterministic

import (
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
)

// Servers move, come under new identities and leave, and their leader records it.

// record proposes what a leader knows of a replica's place.
func (t *tenure) record(r *replica) {
	s := &logpb.ServerRecord{NodeId: r.name, ServerId: "s" + strconv.Itoa(r.identity), Addr: "h:" + strconv.Itoa(r.moves), PeerAddr: "p:" + strconv.Itoa(r.moves)}
	t.propose(&logpb.Op{Op: &logpb.Op_PutServer{PutServer: &logpb.PutServer{Server: s}}}, func(fsm.Result, error) {})
}

// moveServers changes where a replica is, now and then, and tells whoever leads, or thinks
// that it does.
func (w *world) moveServers() {
	if w.healed {
		return
	}
	r := w.replicas[w.below(len(w.replicas))]
	t := w.tenure
	if w.zombie != nil && w.chance(30) {
		t = w.zombie
	}
	switch k := w.below(4); {
	case t == nil:
	case k == 0: // the one that it was is gone
		t.propose(w.leave(r.name, "s"+strconv.Itoa(r.identity)), func(fsm.Result, error) {})
		r.identity++
	case k == 1:
		r.moves++
		t.record(r)
	default: // it tells what is known
		t.record(r)
	}
	w.after(w.between(0, longest), w.moveServers)
}

// leave is the op by which a server leaves: it is forgotten, or removed for good.
func (w *world) leave(nodeID, serverID string) *logpb.Op {
	if w.chance(50) {
		return &logpb.Op{Op: &logpb.Op_RemoveServer{RemoveServer: &logpb.RemoveServer{NodeId: nodeID, ServerId: serverID}}}
	}
	return &logpb.Op{Op: &logpb.Op_DeleteServer{DeleteServer: &logpb.DeleteServer{NodeId: nodeID, ServerId: serverID}}}
}

// compareServers compares the recorded servers with the model's.
func (r *replica) compareServers() {
	want, got := r.w.model.ServerList(), r.m.Servers()
	same := len(want) == len(got)
	for i := 0; same && i < len(want); i++ {
		same = proto.Equal(want[i], got[i])
	}
	if !same {
		r.w.problem("%s has the servers %v, the model %v", r.name, got, want)
	}
	if want, got := r.w.model.Removed, r.m.Removed(); !slices.EqualFunc(want, got, sameRemoved) {
		r.w.problem("%s has the removed servers %v, the model %v", r.name, got, want)
	}
}

func sameRemoved(a, b *logpb.RemovedServer) bool { return proto.Equal(a, b) }

// raise proposes the newest version, as a leader does once all servers know it.
func (w *world) raise() {
	if w.over {
		return
	}
	if t := w.tenure; t != nil {
		t.propose(&logpb.Op{Op: &logpb.Op_SetVersion{SetVersion: &logpb.SetVersion{Version: fsm.Version}}}, func(fsm.Result, error) {})
	}
	if w.model.Active < fsm.Version {
		w.after(w.riseAfter(), w.raise)
	}
}

// riseAfter is how long it takes until all servers know the newest version, or a leader asks again.
func (w *world) riseAfter() time.Duration { return time.Duration(w.rise.Int64N(int64(longest))) }
