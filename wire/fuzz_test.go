package wire_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/status"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// FuzzSpec: any spec of the wire is refused with a kind or translated, and one that is
// valid comes back as it was.
func FuzzSpec(f *testing.F) {
	for _, p := range []*rotav1.JobSpec{
		{}, {Work: &rotav1.JobSpec_Handler{Handler: &rotav1.HandlerWork{Name: "h"}}, Policy: 7, Execution: 9},
		{Work: &rotav1.JobSpec_Handler{Handler: &rotav1.HandlerWork{Name: "h"}}, Timeout: durationpb.New(1 << 62), Delay: &durationpb.Duration{Nanos: -1}},
		{Work: &rotav1.JobSpec_Command{}, NotBefore: &timestamppb.Timestamp{Seconds: 1 << 40}},
		{
			Work:    &rotav1.JobSpec_Command{Command: &rotav1.CommandWork{Argv: []string{"a", ""}, Env: map[string]string{"k": "v", "a": ""}, Cwd: "/", Placeholder: "{}"}},
			Require: map[string]string{"zone": "a"}, Meta: map[string]string{"": ""}, Execution: rotav1.Execution_EXECUTION_SERIAL, MaxAttempts: 3,
			NotBefore: &timestamppb.Timestamp{Seconds: 1_700_000_000, Nanos: 1}, Values: []*rotav1.ValueRun{{First: 1, Step: 2, Count: 3}, nil},
		},
	} {
		data, err := proto.Marshal(p)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p := &rotav1.JobSpec{}
		if proto.Unmarshal(data, p) != nil {
			return
		}
		spec, err := wire.SpecFromProto(p)
		if err != nil {
			require.Equal(t, task.KindInvalid, task.KindOf(err))
			return
		}
		spec.SetDefaults()
		if err := spec.Validate(); err != nil {
			require.Contains(t, []task.Kind{task.KindInvalid, task.KindTooLarge}, task.KindOf(err))
			return
		}
		data, err = proto.Marshal(wire.SpecToProto(&spec))
		require.NoError(t, err)
		again := &rotav1.JobSpec{}
		require.NoError(t, proto.Unmarshal(data, again))
		back, err := wire.SpecFromProto(again)
		require.NoError(t, err)
		require.Equal(t, spec, back)
	})
}

// FuzzStatus: whatever status a peer answers with, it becomes an error with a kind, and
// goes on to others as a status that they understand alike.
func FuzzStatus(f *testing.F) {
	for _, err := range []error{
		wire.ToStatus(&task.Error{Kind: task.KindUnavailable, Msg: "m", Leader: "a:1", RetryAfter: 5}),
		wire.ToStatus(task.Errorf(task.KindUnknownOutcome, "m")), wire.ToStatus(task.Errorf(task.KindInternal, "m")), grpcstatus.Error(14, "m"),
	} {
		data, err := proto.Marshal(grpcstatus.Convert(err).Proto())
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p := &status.Status{}
		if proto.Unmarshal(data, p) != nil || p.Code == 0 {
			return
		}
		err := wire.FromStatus(grpcstatus.FromProto(p).Err())
		kind := task.KindOf(err)
		require.NotEmpty(t, kind)
		st := wire.ToStatus(err)
		require.NotZero(t, grpcstatus.Code(st))
		again := wire.FromStatus(st)
		require.Equal(t, kind, task.KindOf(again), "%v became %v", err, again)
	})
}
