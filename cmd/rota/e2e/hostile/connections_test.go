package hostile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// allButOne is the body of a call whose message lacks its last byte, which never comes.
type allButOne struct {
	head []byte
	left int
	end  <-chan struct{}
	sent func()
}

func newAllButOne(ctx context.Context, size int, sent func()) *allButOne {
	return &allButOne{head: []byte{0, byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}, left: size - 1, end: ctx.Done(), sent: sent}
}

func (b *allButOne) Read(p []byte) (int, error) {
	if len(b.head) > 0 {
		n := copy(p, b.head)
		b.head = b.head[n:]
		return n, nil
	}
	if b.left == 0 {
		b.sent()
		<-b.end
		return 0, io.ErrUnexpectedEOF
	}
	n := min(len(p), b.left)
	clear(p[:n])
	b.left -= n
	return n, nil
}

// TestRequestsThatDoNotArriveAreBounded opens many calls, and never sends the last byte of their messages: of
// unary requests and of streams.
func TestRequestsThatDoNotArriveAreBounded(t *testing.T) {
	t.Parallel()
	h := start(t)
	const calls = 600
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	ctx, cancel := context.WithCancel(t.Context())
	var all, sent sync.WaitGroup
	for i := range calls {
		method := []string{rotav1.JobService_Submit_FullMethodName, rotav1.JobService_SubmitStream_FullMethodName, rotav1.WorkerService_Session_FullMethodName}[i%3]
		var once sync.Once
		sent.Add(1)
		done := func() { once.Do(sent.Done) }
		body := newAllButOne(ctx, task.MaxRequest-1, done)
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+h.Addrs[h.Leader()]+method, body)
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/grpc")
		r.Header.Set("Te", "trailers")
		all.Go(func() {
			defer done()
			// The server may answer it, cut it off or refuse it.
			if resp, err := transport.RoundTrip(r); err == nil {
				_ = resp.Body.Close()
			}
		})
	}
	sent.Wait()
	h.Served(20)
	cancel()
	all.Wait()
	transport.CloseIdleConnections()
}

// TestAnswersThatAreNotReadAreBounded opens many calls that ask for a large job and never read the
// answer.
func TestAnswersThatAreNotReadAreBounded(t *testing.T) {
	t.Parallel()
	h := start(t)
	const connections, calls = 8, 500
	ctx, cancel := context.WithTimeout(t.Context(), 3*within)
	defer cancel()
	job, err := h.Client().Submit(ctx, client.Request{
		Spec: task.Spec{Handler: "rota.noop", SharedPayload: make([]byte, task.MaxPayload)}, Count: 1,
	})
	require.NoError(t, err)
	request, err := proto.Marshal(&rotav1.GetJobRequest{JobId: job.ID(), Read: &rotav1.ReadOptions{Stale: true, MinIndex: 1}})
	require.NoError(t, err)
	body := append([]byte{0, 0, 0, 0, byte(len(request))}, request...)
	url := "http://" + h.Addrs[h.Leader()] + rotav1.JobService_GetJob_FullMethodName
	for range connections {
		protocols := new(http.Protocols)
		protocols.SetUnencryptedHTTP2(true)
		// Until somebody reads, the connection takes no more than these windows.
		small := &http.HTTP2Config{MaxReceiveBufferPerConnection: 64 << 10, MaxReceiveBufferPerStream: 64 << 10}
		transport := &http.Transport{Protocols: protocols, HTTP2: small}
		t.Cleanup(transport.CloseIdleConnections)
		for range calls {
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
			require.NoError(t, err)
			r.Header.Set("Content-Type", "application/grpc")
			r.Header.Set("Te", "trailers")
			resp, err := transport.RoundTrip(r)
			if err != nil {
				break // it was cut off
			}
			t.Cleanup(func() { _ = resp.Body.Close() })
		}
	}
	h.Served(20)
}

// TestIdleConnectionsLeaveDescriptors: a server with few descriptors keeps some, also for the next file of the log.
func TestIdleConnectionsLeaveDescriptors(t *testing.T) {
	t.Parallel()
	h := startAs(t, limited(t, 400))
	const connections = 600
	ctx, cancel := context.WithTimeout(t.Context(), 3*within)
	defer cancel()
	cl := h.Client() // it connects before the server is full
	_, err := cl.Workers(ctx, client.WorkersOptions{})
	require.NoError(t, err)
	var open []net.Conn
	for _, addrs := range [][]string{h.HTTPAddrs, h.Addrs, h.PeerAddrs} {
		for _, addr := range addrs {
			for range connections {
				conn, err := net.DialTimeout("tcp", addr, time.Second)
				if err != nil {
					break // the server is full and lets nobody in
				}
				open = append(open, conn)
			}
		}
	}
	t.Cleanup(func() {
		for _, conn := range open {
			_ = conn.Close()
		}
	})
	h.Served(20)
	// More than one file of the log takes.
	const jobs = (64<<20)/task.MaxPayload + 20
	for i := range jobs {
		payload := fmt.Appendf(make([]byte, task.MaxPayload-8), "%08d", i)
		_, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: "rota.noop"}, Payloads: client.Payloads(payload)})
		if errors.Is(err, task.ErrExhausted) {
			continue
		}
		require.NoError(t, err)
	}
	h.Served(20)
	// A client that connects only now gets a place too.
	_, err = h.Client().Workers(ctx, client.WorkersOptions{})
	require.NoError(t, err)
}

// limited returns a program that starts the program under test with so many descriptors.
func limited(t *testing.T, descriptors int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rota")
	script := fmt.Sprintf("#!/bin/sh\nulimit -n %d && exec %q \"$@\"\n", descriptors, binary)
	require.NoError(t, os.WriteFile(path, []byte(script), 0o700))
	return path
}
