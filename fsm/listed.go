package fsm

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm/logpb"
)

// omitted is fields of a message that are left out, by number: nil for a whole field,
// otherwise what is left out of the message in it.
type omitted map[protowire.Number]omitted

// What no list of jobs shows, and what makes records large: payloads, results, and marks of
// appends.
var (
	unlistedOfSpec   = omitted{21: nil, 30: nil}                             // shared_payload, retried
	unlistedOfRecord = omitted{2: unlistedOfSpec, 20: nil, 21: nil, 22: nil} // spec; appends, inline_tasks, inline_segments
)

// DecodeListed decodes what a list of jobs shows of a stored JobRecord. It costs what that
// is, whatever else the record holds.
func DecodeListed(stored []byte) (*logpb.JobRecord, error) {
	rest, err := unlistedOfRecord.leaveOut(stored)
	if err != nil {
		return nil, err
	}
	rec := &logpb.JobRecord{}
	return rec, proto.Unmarshal(rest, rec)
}

// Listed returns what a list of jobs shows of a record.
func Listed(rec *logpb.JobRecord) (*logpb.JobRecord, error) {
	spec, err := unlistedOfSpec.leaveOut(rec.Spec)
	rec.Spec, rec.Appends, rec.InlineTasks, rec.InlineSegments = spec, nil, nil, nil
	return rec, err
}

// leaveOut returns an encoded message without these fields. It decodes nothing.
func (o omitted) leaveOut(message []byte) ([]byte, error) {
	var out []byte
	for len(message) > 0 {
		number, kind, head := protowire.ConsumeTag(message)
		if head < 0 {
			return nil, protowire.ParseError(head)
		}
		size := protowire.ConsumeFieldValue(number, kind, message[head:])
		if size < 0 {
			return nil, protowire.ParseError(size)
		}
		field := message[:head+size]
		message = message[head+size:]
		switch inner, found := o[number]; {
		case !found:
			out = append(out, field...)
		case inner != nil && kind == protowire.BytesType:
			within, _ := protowire.ConsumeBytes(field[head:])
			left, err := inner.leaveOut(within)
			if err != nil {
				return nil, err
			}
			out = protowire.AppendBytes(append(out, field[:head]...), left)
		}
	}
	return out, nil
}
