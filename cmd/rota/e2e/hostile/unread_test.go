package hostile

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/wire"
)

// encoded is a codec for messages that are bytes already: a million items would use up the memory of the
// test before that of the server.
type encoded struct{}

func (encoded) Name() string { return "proto" }

func (encoded) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (encoded) Unmarshal(data mem.BufferSlice, v any) error {
	return proto.Unmarshal(data.Materialize(), v.(proto.Message))
}

// submitStream opens a stream of submits to the leader, for messages that are encoded already.
func (h *harness) submitStream() grpc.ClientStream {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	h.t.Cleanup(cancel)
	desc := &grpc.StreamDesc{StreamName: "SubmitStream", ClientStreams: true, ServerStreams: true}
	stream, err := h.Dial(h.Leader()).NewStream(ctx, desc, rotav1.JobService_SubmitStream_FullMethodName, grpc.ForceCodecV2(encoded{}))
	require.NoError(h.t, err)
	return stream
}

// emptyItems is a message of so many submits of nothing, two bytes each.
func emptyItems(n int) []byte {
	b := make([]byte, 0, 2*n)
	for range n {
		b = append(b, 1<<3|2, 0)
	}
	return b
}

// Messages of 8 MiB made of items of two bytes once took 124 times their size: 3.1 GB after 25 MB.
func TestSubmitStreamsOfTinyItemsAreRefused(t *testing.T) {
	t.Parallel()
	h := start(t)
	message := emptyItems((wire.MaxMessage - 1024) / 2)
	var senders flood
	for range 8 {
		stream := h.submitStream()
		senders.send(100, func() error { return stream.SendMsg(message) })
	}
	h.Withstands(&senders)
}

// If a client never reads the answers to its submits, the server stops reading from it once a bounded number waits.
func TestSubmitStreamsThatReadNoAnswerAreNotReadEither(t *testing.T) {
	t.Parallel()
	h := start(t)
	message := emptyItems(2000)
	var senders flood
	for range 4 {
		stream := h.submitStream()
		senders.send(4000, func() error { return stream.SendMsg(message) })
	}
	h.Withstands(&senders)
}

// The answer to every beat once named all tasks that the worker should stop, and the answers waited for a worker
// that does not read: two bytes became tens of thousands.
func TestOnlyTheNewestBeatIsAnswered(t *testing.T) {
	t.Parallel()
	h := start(t)
	const jobs, beats = 2000, 400_000
	hello := helloOf()
	hello.Slots = jobs
	l := h.attach(hello)
	ids := h.submitAtOnce(jobs)
	for given := 0; given < jobs; {
		m, err := l.Recv()
		require.NoError(t, err)
		given += len(m.GetAssignments().GetAssignments())
	}
	require.NoError(t, l.say(&rotav1.Beat{Seq: 1}))
	h.cancelAtOnce(ids)
	var sender flood
	seq := uint64(1)
	sender.send(beats, func() error { seq++; return l.say(&rotav1.Beat{Seq: seq}) })
	h.Withstands(&sender)
}

// submitAtOnce submits jobs of one task for hostile workers in one message.
func (h *harness) submitAtOnce(jobs int) (ids []uint64) {
	h.t.Helper()
	stream, err := rotav1.NewJobServiceClient(h.Dial(h.Leader())).SubmitStream(h.t.Context())
	require.NoError(h.t, err)
	m := &rotav1.SubmitStreamRequest{}
	for i := range jobs {
		spec := &rotav1.JobSpec{Work: &rotav1.JobSpec_Handler{Handler: &rotav1.HandlerWork{Name: "hostile"}}}
		m.Submits = append(m.Submits, &rotav1.SubmitItem{Seq: uint64(i), Request: &rotav1.SubmitRequest{Spec: spec, Tasks: &rotav1.TaskSet{Count: 1}}})
	}
	require.NoError(h.t, stream.Send(m))
	for len(ids) < jobs {
		answers, err := stream.Recv()
		require.NoError(h.t, err)
		for _, a := range answers.GetAnswers() {
			require.Empty(h.t, a.GetMessage())
			ids = append(ids, a.GetResponse().GetJobId())
		}
	}
	return ids
}

// cancelAtOnce cancels jobs side by side.
func (h *harness) cancelAtOnce(ids []uint64) {
	h.t.Helper()
	const atOnce = 64
	client := rotav1.NewJobServiceClient(h.Dial(h.Leader()))
	var parts errgroup
	for k := range atOnce {
		parts.run(func() error {
			for i := k; i < len(ids); i += atOnce {
				if _, err := client.CancelJob(h.t.Context(), &rotav1.CancelJobRequest{JobId: ids[i]}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(h.t, parts.wait())
}

// errgroup is a group of goroutines that may fail.
type errgroup struct {
	wg   sync.WaitGroup
	once sync.Once
	err  error
}

func (g *errgroup) run(f func() error) {
	g.wg.Go(func() {
		if err := f(); err != nil {
			g.once.Do(func() { g.err = err })
		}
	})
}

func (g *errgroup) wait() error {
	g.wg.Wait()
	return g.err
}
