package deterministic

import (
	"crypto/sha256"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
)

// accessNames is how many different tokens are made and revoked.
const accessNames = 6

// changeAccess makes and revokes access tokens, through whoever leads, or thinks that it does. It draws from a source
// of its own, so that runs of a seed stay what they are apart from that.
func (w *world) changeAccess() {
	if w.healed {
		return
	}
	t := w.tenure
	if w.zombie != nil && w.rise.IntN(100) < 30 {
		t = w.zombie
	}
	hash := sha256.Sum256(fmt.Append(nil, w.rise.IntN(accessNames)))
	var op *logpb.Op
	if w.rise.IntN(3) == 0 {
		op = &logpb.Op{Op: &logpb.Op_RevokeAccessToken{RevokeAccessToken: &logpb.RevokeAccessToken{Hash: hash[:]}}}
	} else {
		token := &logpb.AccessToken{Hash: hash[:], Name: "ci", Role: []string{"read", "submit", "nobody"}[w.rise.IntN(3)], Rate: uint32(w.rise.IntN(2))}
		if w.rise.IntN(2) == 0 {
			token.TtlNs = w.rise.Int64N(int64(time.Minute))
		}
		if w.rise.IntN(2) == 0 {
			token.Queues = []string{"team-*"}
		}
		op = &logpb.Op{Op: &logpb.Op_CreateAccessToken{CreateAccessToken: &logpb.CreateAccessToken{Token: token}}}
	}
	if t != nil {
		t.propose(op, func(fsm.Result, error) {})
	}
	w.after(time.Duration(w.rise.Int64N(int64(longest))), w.changeAccess)
}

// compareAccess compares the access tokens with the model's.
func (r *replica) compareAccess() {
	want := r.w.model.AccessList()
	same := len(want) == len(r.m.AccessTokens())
	for _, t := range want {
		got, ok := r.m.AccessToken(t.Hash)
		same = same && ok && proto.Equal(t, got)
	}
	if !same {
		r.w.problem("%s has the access tokens %v, the model %v", r.name, r.m.AccessTokens(), want)
	}
}
