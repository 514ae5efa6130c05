package main

import (
	"bytes"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/wire"
)

// A list of many pages may take longer than the timeout of a request, because each page is a request.
func TestEachPageOfAListHasItsOwnTimeout(t *testing.T) {
	t.Parallel()
	const pages, each, timeout = 12, 500 * time.Millisecond, 4 * time.Second
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := grpc.NewServer(wire.ServerOptions(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		if method, _ := grpc.MethodFromServerStream(stream); !strings.HasSuffix(method, "/ListJobs") {
			return serveEvil(stream, nil)
		}
		in := &rotav1.ListJobsRequest{}
		if err := stream.RecvMsg(in); err != nil {
			return err
		}
		time.Sleep(each) // as a server on a slow link
		page, _ := strconv.Atoi(in.GetPageToken())
		job := &rotav1.Job{}
		fill(job.ProtoReflect(), 1)
		out := &rotav1.ListJobsResponse{Jobs: []*rotav1.Job{job}}
		if page+1 < pages {
			out.NextPageToken = strconv.Itoa(page + 1)
		}
		return stream.SendMsg(out)
	}))...)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	var out, errs bytes.Buffer
	a := &app{out: &out, err: &errs, env: func(string) string { return "" }}
	began := time.Now()
	code := a.run(t.Context(), []string{"job", "list", "--limit", "0", "-o", "jsonl", "--request-timeout", timeout.String(), "--addr", l.Addr().String()})
	require.Zero(t, code, errs.String())
	require.Equal(t, pages, strings.Count(out.String(), "\n"), out.String())
	require.Greater(t, time.Since(began), timeout)
}
