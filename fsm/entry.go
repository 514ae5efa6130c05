package fsm

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/rota-scheduler/rota/fsm/logpb"
)

// Version is the semantics of Apply that this build knows. A change to what any
// op does to the state is a new version; entries say which one they mean.
const Version = 1

// EncodeEntry encodes ops as one log entry, proposed at clock (Unix ns).
func EncodeEntry(clock int64, ops []*logpb.Op) ([]byte, error) {
	return proto.Marshal(&logpb.Entry{Version: Version, ClockNs: clock, Ops: ops})
}

// DecodeEntry decodes and checks a log entry. An error means that this build must
// not go on: it would apply something other than the rest of the cluster does.
func DecodeEntry(data []byte) (*logpb.Entry, error) {
	e := &logpb.Entry{}
	if err := proto.Unmarshal(data, e); err != nil {
		return nil, fmt.Errorf("malformed log entry: %w", err)
	}
	if e.Version == 0 || e.Version > Version {
		return nil, fmt.Errorf("log entry of version %d, this build knows up to %d: upgrade this server", e.Version, Version)
	}
	if len(e.ProtoReflect().GetUnknown()) > 0 {
		return nil, fmt.Errorf("log entry with unknown fields: upgrade this server")
	}
	for i, op := range e.Ops {
		m := op.ProtoReflect()
		if op.Op == nil || len(m.GetUnknown()) > 0 {
			return nil, fmt.Errorf("log entry with unknown op at place %d: upgrade this server", i)
		}
		body := m.Get(m.WhichOneof(opOneof)).Message()
		if len(body.GetUnknown()) > 0 {
			return nil, fmt.Errorf("log entry with unknown fields in %s: upgrade this server", body.Descriptor().Name())
		}
	}
	return e, nil
}

var opOneof = (&logpb.Op{}).ProtoReflect().Descriptor().Oneofs().ByName(protoreflect.Name("op"))
