package wire

import (
	"google.golang.org/protobuf/proto"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// CheckKnown refuses messages with fields that this build does not know: a newer client asks for something with
// them, and would be told that it has got it. It does not look at the messages within.
func CheckKnown(messages ...proto.Message) error {
	for _, m := range messages {
		if r := m.ProtoReflect(); r.IsValid() && len(r.GetUnknown()) > 0 {
			return errUnknown()
		}
	}
	return nil
}

func errUnknown() error {
	return task.Errorf(task.KindUnsupported,
		"the request has fields that this server does not know: upgrade all servers (rota cluster status shows what each of them knows), or use an older client")
}

// checkSpecKnown is CheckKnown for a spec and the messages within, but for the fields of the spec itself.
func checkSpecKnown(p *rotav1.JobSpec) error {
	for _, v := range p.GetValues() {
		if len(v.ProtoReflect().GetUnknown()) > 0 {
			return errUnknown()
		}
	}
	return CheckKnown(p.GetHandler(), p.GetCommand(), p.GetTimeout(), p.GetDelay(), p.GetExpire(), p.GetRetention(), p.GetNotBefore())
}
