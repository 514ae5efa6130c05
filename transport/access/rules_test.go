package access

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/transport/peerpb"
)

// Each rpc in each .proto file of ours has a rule beside it, whether or not a server serves it.
func TestEveryCallHasARule(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, file := range []protoreflect.FileDescriptor{rotav1.File_rota_v1_jobs_proto, peerpb.File_peerpb_peer_proto} {
		protoregistry.GlobalFiles.RangeFilesByPackage(file.Package(), func(f protoreflect.FileDescriptor) bool {
			for i := range f.Services().Len() {
				methods := f.Services().Get(i).Methods()
				for k := range methods.Len() {
					_, err := parseRule(methods.Get(k))
					require.NoError(t, err, "%s", methods.Get(k).FullName())
					seen++
				}
			}
			return true
		})
	}
	require.Greater(t, seen, 20)
}

// unruled is a service with one rpc and the option beside it.
func unruled(t *testing.T, option *rotav1.Access) protoreflect.MethodDescriptor {
	t.Helper()
	m := &descriptorpb.MethodDescriptorProto{
		Name: proto.String("Call"), InputType: proto.String(".rota.v1.SubmitRequest"), OutputType: proto.String(".rota.v1.SubmitResponse"),
	}
	if option != nil {
		m.Options = &descriptorpb.MethodOptions{}
		proto.SetExtension(m.Options, rotav1.E_Access, option)
	}
	f, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("test.proto"), Package: proto.String("test"), Syntax: proto.String("proto3"), Dependency: []string{"rota/v1/jobs.proto"},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("S"), Method: []*descriptorpb.MethodDescriptorProto{m}}},
	}, protoregistry.GlobalFiles)
	require.NoError(t, err)
	return f.Services().Get(0).Methods().Get(0)
}

func TestARuleThatDoesNotFitIsFound(t *testing.T) {
	t.Parallel()
	const read = rotav1.Right_RIGHT_READ
	for want, option := range map[string]*rotav1.Access{
		"has no option":             nil,
		"needs no right":            {Scope: rotav1.Scope_SCOPE_ANY},
		"has the scope":             {Right: read},
		"no such field":             {Right: read, Scope: rotav1.Scope_SCOPE_QUEUE},
		"SubmitRequest has no such": {Right: read, Scope: rotav1.Scope_SCOPE_QUEUE, Field: "queue"},
		"not a uint64":              {Right: read, Scope: rotav1.Scope_SCOPE_JOB, Field: "request_key"},
		"not a string":              {Right: read, Scope: rotav1.Scope_SCOPE_QUEUE, Field: "open"},
		"in one that is no message": {Right: read, Scope: rotav1.Scope_SCOPE_QUEUE, Field: "request_key.queue"},
		"JobSpec has no such field": {Right: read, Scope: rotav1.Scope_SCOPE_QUEUE, Field: "spec.values"},
		"needs none":                {Right: read, Scope: rotav1.Scope_SCOPE_ANY, Field: "request_key"},
		"a stream of requests":      {Right: read, Scope: rotav1.Scope_SCOPE_MESSAGES},
	} {
		_, err := parseRule(unruled(t, option))
		require.ErrorContains(t, err, want)
	}
	rule, err := parseRule(unruled(t, &rotav1.Access{Right: rotav1.Right_RIGHT_SUBMIT, Scope: rotav1.Scope_SCOPE_QUEUE, Field: "spec.queue"}))
	require.NoError(t, err)
	require.Equal(t, task.RightSubmit, rule.Right)
	require.Equal(t, "q", rule.value(&rotav1.SubmitRequest{Spec: &rotav1.JobSpec{Queue: "q"}}).String())
	require.Empty(t, rule.value(&rotav1.SubmitRequest{}).String())
}

func TestAServerWithACallWithoutARuleDoesNotStart(t *testing.T) {
	t.Parallel()
	_, err := RulesOf(map[string]grpc.ServiceInfo{"test.Unknown": {Methods: []grpc.MethodInfo{{Name: "Call"}}}})
	require.ErrorContains(t, err, "/test.Unknown/Call")
	_, err = RulesOf(map[string]grpc.ServiceInfo{"rota.v1.JobService": {Methods: []grpc.MethodInfo{{Name: "Nothing"}}}})
	require.ErrorContains(t, err, "/rota.v1.JobService/Nothing")
}

// Every number of the enum is a right.
func TestEachRightOfRulesIsOne(t *testing.T) {
	t.Parallel()
	for n := range rotav1.Right_name {
		right, ok := rights[rotav1.Right(n)]
		require.Equal(t, n != 0, ok)
		if ok {
			_, some := task.LeastRole(right)
			require.True(t, some, "nobody has the right %s", right)
		}
	}
}
