package wire_test

import (
	"bytes"
	"context"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/wire"
)

// jobServer counts the requests that were decoded.
type jobServer struct {
	rotav1.UnimplementedJobServiceServer
	decoded int
}

func (s *jobServer) Submit(context.Context, *rotav1.SubmitRequest) (*rotav1.SubmitResponse, error) {
	s.decoded++
	return &rotav1.SubmitResponse{JobId: 1}, nil
}

// A value run takes three bytes of a request, and fifty of memory.
func TestARequestOfTooManyElementsIsNotDecoded(t *testing.T) {
	t.Parallel()
	listener, impl, server := bufconn.Listen(1<<20), &jobServer{}, grpc.NewServer(wire.ServerOptions()...)
	rotav1.RegisterJobServiceServer(server, impl)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	conn, err := wire.Dial("server:7420", wire.WithDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		server.Stop()
		require.NoError(t, <-done)
	})
	submit := func(runs int) error {
		req := &rotav1.SubmitRequest{Spec: &rotav1.JobSpec{SharedPayload: bytes.Repeat([]byte("x"), 64<<10)}}
		for range runs {
			req.Spec.Values = append(req.Spec.Values, &rotav1.ValueRun{})
		}
		_, err := rotav1.NewJobServiceClient(conn).Submit(t.Context(), req)
		return err
	}
	require.NoError(t, submit(wire.MaxElements-1))
	require.Equal(t, 1, impl.decoded)
	require.ErrorContains(t, submit(wire.MaxElements), "elements: use several")
	require.Equal(t, 1, impl.decoded)
}

// elementsOf counts the elements of a message that was decoded.
func elementsOf(m protoreflect.Message) (n int) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				if n++; f.MapValue().Message() != nil {
					n += elementsOf(v.Message())
				}
				return true
			})
		case f.IsList():
			scalar := f.Kind() != protoreflect.StringKind && f.Kind() != protoreflect.BytesKind && f.Message() == nil
			for i := range v.List().Len() {
				switch {
				case f.Message() != nil:
					n += 1 + elementsOf(v.List().Get(i).Message())
				case !scalar:
					n++
				}
			}
		case f.Message() != nil:
			n += 1 + elementsOf(v.Message())
		}
		return true
	})
	return n
}

// FuzzCountElements: what is decoded has no more elements than were counted before, and
// counting ends.
func FuzzCountElements(f *testing.F) {
	spec := &rotav1.JobSpec{
		Work: &rotav1.JobSpec_Command{Command: &rotav1.CommandWork{Argv: []string{"a", ""}, Env: map[string]string{"k": "v", "a": ""}}},
		Meta: map[string]string{"": ""}, Values: []*rotav1.ValueRun{{First: 1}, {}},
	}
	messages := []proto.Message{
		&rotav1.SubmitStreamRequest{Submits: []*rotav1.SubmitItem{{}, {Seq: 1, Request: &rotav1.SubmitRequest{Spec: spec}}, {Append: &rotav1.AppendTasksRequest{}}}},
		&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Reports{Reports: &rotav1.Reports{Groups: []*rotav1.ReportGroup{{Ranges: []*rotav1.IndexRange{{}, {Count: 1}}}}}}},
		&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Beat{Beat: &rotav1.Beat{Running: []*rotav1.RunningTask{{}, {JobId: 1}}}}},
		&rotav1.ListJobsRequest{States: []rotav1.JobState{1, 2, 3}},
	}
	for i, m := range messages {
		data, err := proto.Marshal(m)
		require.NoError(f, err)
		f.Add(uint8(i), data)
		f.Add(uint8(i), data[:len(data)/2])
	}
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		m := messages[int(kind)%len(messages)].ProtoReflect().New()
		counted := wire.CountElements(data, m.Descriptor(), len(data))
		require.LessOrEqual(t, counted, 2*len(data)+1)
		if proto.Unmarshal(data, m.Interface()) == nil {
			require.GreaterOrEqual(t, counted, elementsOf(m))
		}
	})
}
