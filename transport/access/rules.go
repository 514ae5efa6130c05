package access

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionalpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// Rule is what a call needs of whoever makes it.
type Rule struct {
	Right task.Right
	Scope rotav1.Scope
	// field leads from the request to the queue, or to the id of the job.
	field []protoreflect.FieldDescriptor
}

// rights by their numbers in rules.
var rights = map[rotav1.Right]task.Right{
	rotav1.Right_RIGHT_ANYBODY: task.RightAnybody,
	rotav1.Right_RIGHT_CONNECT: task.RightConnect,
	rotav1.Right_RIGHT_READ:    task.RightRead,
	rotav1.Right_RIGHT_SUBMIT:  task.RightSubmit,
	rotav1.Right_RIGHT_OPERATE: task.RightOperate,
	rotav1.Right_RIGHT_ADMIN:   task.RightAdmin,
	rotav1.Right_RIGHT_WORK:    task.RightWork,
	rotav1.Right_RIGHT_SERVE:   task.RightServe,
}

// foreign are the rules of services whose definitions are not ours. Probes of health have no credentials. What the
// reflection tells is in the source code, and it costs little, but nobody needs it who may not connect.
var foreign = map[string]*Rule{
	healthpb.Health_Check_FullMethodName:                                 {Right: task.RightAnybody, Scope: rotav1.Scope_SCOPE_ANY},
	healthpb.Health_Watch_FullMethodName:                                 {Right: task.RightAnybody, Scope: rotav1.Scope_SCOPE_ANY},
	healthpb.Health_List_FullMethodName:                                  {Right: task.RightAnybody, Scope: rotav1.Scope_SCOPE_ANY},
	reflectionpb.ServerReflection_ServerReflectionInfo_FullMethodName:    {Right: task.RightConnect, Scope: rotav1.Scope_SCOPE_ANY},
	reflectionalpha.ServerReflection_ServerReflectionInfo_FullMethodName: {Right: task.RightConnect, Scope: rotav1.Scope_SCOPE_ANY},
}

// RulesOf returns the rule of each call of the services of a server, by the full name of its method. It fails if a call
// has no rule, or one that makes no sense.
func RulesOf(services map[string]grpc.ServiceInfo) (map[string]*Rule, error) {
	rules := map[string]*Rule{}
	var wrong []string
	for service, info := range services {
		for _, m := range info.Methods {
			full := "/" + service + "/" + m.Name
			rule, err := ruleOf(service, m.Name)
			if err != nil {
				wrong = append(wrong, fmt.Sprintf("%s %v", full, err))
				continue
			}
			rules[full] = rule
		}
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		return nil, task.Errorf(task.KindInternal, "calls without a rule of access, see api/rota/v1/access.proto: %s", strings.Join(wrong, "; "))
	}
	return rules, nil
}

func ruleOf(service, method string) (*Rule, error) {
	if r := foreign["/"+service+"/"+method]; r != nil {
		return r, nil
	}
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil, fmt.Errorf("has no definition: %w", err)
	}
	definition, ok := found.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil, fmt.Errorf("is a %T", found)
	}
	m := definition.Methods().ByName(protoreflect.Name(method))
	if m == nil {
		return nil, fmt.Errorf("is not in its definition")
	}
	return parseRule(m)
}

// parseRule reads the option beside an rpc.
func parseRule(m protoreflect.MethodDescriptor) (*Rule, error) {
	if !proto.HasExtension(m.Options(), rotav1.E_Access) {
		return nil, fmt.Errorf("has no option (rota.v1.access)")
	}
	option, _ := proto.GetExtension(m.Options(), rotav1.E_Access).(*rotav1.Access)
	r := &Rule{Right: rights[option.GetRight()], Scope: option.GetScope()}
	if r.Right == "" {
		return nil, fmt.Errorf("needs no right: say which, or RIGHT_ANYBODY")
	}
	want := protoreflect.StringKind
	switch r.Scope {
	case rotav1.Scope_SCOPE_JOB:
		want = protoreflect.Uint64Kind
	case rotav1.Scope_SCOPE_QUEUE, rotav1.Scope_SCOPE_LIST:
	case rotav1.Scope_SCOPE_CLUSTER, rotav1.Scope_SCOPE_ANY:
		return r, noField(option)
	case rotav1.Scope_SCOPE_MESSAGES:
		if !m.IsStreamingClient() {
			return nil, fmt.Errorf("has the scope of a stream of requests, and is none")
		}
		return r, noField(option)
	default:
		return nil, fmt.Errorf("has the scope %v: say which one", r.Scope)
	}
	at := m.Input()
	for name := range strings.SplitSeq(option.GetField(), ".") {
		if at == nil {
			return nil, fmt.Errorf("looks for the field %q in one that is no message", option.GetField())
		}
		f := at.Fields().ByName(protoreflect.Name(name))
		if f == nil || f.IsList() || f.IsMap() {
			return nil, fmt.Errorf("has the field %q, and %s has no such field", option.GetField(), at.FullName())
		}
		r.field, at = append(r.field, f), f.Message()
	}
	if last := r.field[len(r.field)-1]; last.Kind() != want {
		return nil, fmt.Errorf("has the field %q, which is a %v and not a %v", option.GetField(), last.Kind(), want)
	}
	return r, nil
}

func noField(option *rotav1.Access) error {
	if option.GetField() != "" {
		return fmt.Errorf("has the field %q, and its scope %v needs none", option.GetField(), option.GetScope())
	}
	return nil
}

// value is the field of a request that the rule names.
func (r *Rule) value(request proto.Message) protoreflect.Value {
	at := request.ProtoReflect()
	for _, f := range r.field[:len(r.field)-1] {
		at = at.Get(f).Message()
	}
	return at.Get(r.field[len(r.field)-1])
}
