package client_test

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
)

// submitMethod and appendMethod are the names under which tests script faults for submits and appends, whether these
// come in a stream or not.
const (
	submitMethod = "/rota.v1.JobService/Submit"
	appendMethod = "/rota.v1.JobService/AppendTasks"
)

func (s *fakeServer) SubmitStream(stream grpc.BidiStreamingServer[rotav1.SubmitStreamRequest, rotav1.SubmitStreamResponse]) error {
	if err := s.lead(submitMethod); err != nil {
		return err
	}
	var mu sync.Mutex // of Send
	var items sync.WaitGroup
	defer items.Wait()
	for {
		m, err := stream.Recv()
		if err != nil {
			return nil
		}
		for _, item := range m.GetSubmits() {
			items.Go(func() {
				answer := s.submitItem(stream, item)
				mu.Lock()
				defer mu.Unlock()
				// A stream that was cut meanwhile tells its client by itself.
				_ = stream.Send(answer)
			})
		}
	}
}

func (s *fakeServer) submitItem(stream grpc.ServerStream, item *rotav1.SubmitItem) *rotav1.SubmitStreamResponse {
	a := &rotav1.SubmitAnswer{Seq: item.GetSeq()}
	out := &rotav1.SubmitStreamResponse{Answers: []*rotav1.SubmitAnswer{a}}
	var resp any
	var err error
	if item.GetAppend() != nil {
		_, err = s.unary(stream.Context(), item.GetAppend(), &grpc.UnaryServerInfo{FullMethod: appendMethod}, s.appendAny)
	} else {
		resp, err = s.unary(stream.Context(), item.GetRequest(), &grpc.UnaryServerInfo{FullMethod: submitMethod}, s.submitAny)
	}
	if err != nil {
		st, _ := status.FromError(err)
		a.Code, a.Message = uint32(st.Code()), st.Message()
		for _, d := range st.Details() {
			a.Error, _ = d.(*rotav1.ErrorDetail)
		}
		return out
	}
	a.Response, _ = resp.(*rotav1.SubmitResponse)
	if item.GetFollow() {
		out.Results = append(out.Results, s.followed(item.GetSeq(), a.GetResponse().GetJobId()))
	}
	return out
}

// followed is the result of a job of one task, or lost if it is not there yet.
func (s *fakeServer) followed(seq, job uint64) *rotav1.FollowedResults {
	r := &rotav1.FollowedResults{Seq: seq, Lost: true}
	s.c.locked(func() {
		if j := s.c.jobs[job]; len(j.done) == 1 && j.over() {
			r.Lost, r.Complete = false, true
			r.Groups = []*rotav1.ResultGroup{s.c.group(j, []uint32{0})}
		}
	})
	return r
}

func (s *fakeServer) submitAny(ctx context.Context, req any) (any, error) {
	return s.Submit(ctx, req.(*rotav1.SubmitRequest))
}

func (s *fakeServer) appendAny(ctx context.Context, req any) (any, error) {
	return s.AppendTasks(ctx, req.(*rotav1.AppendTasksRequest))
}
