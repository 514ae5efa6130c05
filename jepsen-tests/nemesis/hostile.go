package nemesis

import (
	"context"
	"crypto/rand"
	"net"
	"sync"
	"sync/atomic"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/internal/ticks"
	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
	"github.com/rota-scheduler/rota/jepsen-tests/network"
)

// What a hostile client does. It makes no job: whatever it sends is refused, and must be
// refused at little cost. None of it excuses a process that ends.

const (
	// hostileItems is how many submits of two bytes are in a message of nothing else.
	hostileItems = 4096
	// hostileIdle is how many connections it holds open to each port and says nothing on.
	hostileIdle = 64
	// hostilePause is the pause between two requests of a kind. What it asks for must do the harm, not a flood of
	// requests, which would cost the clients of this test their CPU.
	hostilePause = 2 * time.Millisecond
	// hostileNoise is the size of a burst of random bytes.
	hostileNoise = 4096
)

// clientHostile makes a client of each server do what no honest one does.
func clientHostile(ctx context.Context, h *harm) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &hostileClient{host: h.cluster.Clients[h.random.IntN(len(h.cluster.Clients))]}
	for _, s := range h.hit(h.shuffled()) {
		c.against(ctx, s)
	}
	h.undo = append(h.undo, func(context.Context) error {
		cancel()
		c.parts.Wait()
		h.effect += c.sent.Load()
		return nil
	})
	return nil
}

type hostileClient struct {
	host  *network.Host
	parts sync.WaitGroup
	// sent counts what was asked for.
	sent atomic.Int64
}

// against begins all that is done to one server. Each part goes on until ctx ends, whatever
// the server answers.
func (c *hostileClient) against(ctx context.Context, s *cluster.Server) {
	for _, part := range []func(context.Context, *cluster.Conn) error{c.submitNothing, c.listByOnes, c.sayNothing} {
		c.parts.Go(func() {
			for ctx.Err() == nil {
				if conn, err := s.Dial(c.host); err == nil {
					_ = part(ctx, conn)
					_ = conn.Close()
				}
				ticks.Sleep(ctx, hostilePause)
			}
		})
	}
	for _, addr := range s.Ports() {
		c.parts.Go(func() { c.makeNoise(ctx, addr) })
		for range hostileIdle {
			c.parts.Go(func() { c.holdOpen(ctx, addr) })
		}
	}
}

// submitNothing sends submits without a content, thousands in a message, and reads no answer.
func (c *hostileClient) submitNothing(ctx context.Context, conn *cluster.Conn) error {
	stream, err := conn.Jobs.SubmitStream(ctx)
	if err != nil {
		return err
	}
	m := &rotav1.SubmitStreamRequest{Submits: make([]*rotav1.SubmitItem, hostileItems)}
	for i := range m.Submits {
		m.Submits[i] = &rotav1.SubmitItem{}
	}
	for {
		if err := stream.Send(m); err != nil {
			return err
		}
		c.sent.Add(1)
		if !ticks.Sleep(ctx, hostilePause) {
			return ctx.Err()
		}
	}
}

// listByOnes lists jobs, a page for each, from the beginning again and again.
func (c *hostileClient) listByOnes(ctx context.Context, conn *cluster.Conn) error {
	for {
		if _, err := conn.Jobs.ListJobs(ctx, &rotav1.ListJobsRequest{PageSize: 1}); err != nil {
			return err
		}
		c.sent.Add(1)
		if !ticks.Sleep(ctx, hostilePause) {
			return ctx.Err()
		}
	}
}

// sayNothing opens the stream of a worker and never says hello.
func (c *hostileClient) sayNothing(ctx context.Context, conn *cluster.Conn) error {
	stream, err := conn.Workers.Session(ctx)
	if err != nil {
		return err
	}
	c.sent.Add(1)
	_, err = stream.Recv()
	return err
}

// makeNoise sends random bytes to a port, a connection for each burst.
func (c *hostileClient) makeNoise(ctx context.Context, addr string) {
	noise := make([]byte, hostileNoise)
	for ctx.Err() == nil {
		// It never fails. A seed does not repeat these bytes.
		_, _ = rand.Read(noise)
		// Raft's port knows the kind of a message by its first byte, and there are few kinds.
		noise[0] %= 6
		if conn, err := c.host.Dial(ctx, addr); err == nil {
			_ = conn.SetDeadline(time.Now().Add(time.Second))
			if _, err := conn.Write(noise); err == nil {
				c.sent.Add(1)
			}
			_, _ = conn.Read(make([]byte, 1))
			_ = conn.Close()
		}
		ticks.Sleep(ctx, 10*hostilePause)
	}
}

// holdOpen holds a connection, and opens another one when the server closes it.
func (c *hostileClient) holdOpen(ctx context.Context, addr string) {
	for ctx.Err() == nil {
		if conn, err := c.host.Dial(ctx, addr); err == nil {
			c.sent.Add(1)
			waitClosed(ctx, conn)
		}
		// A client that is refused comes back, as any client would.
		ticks.Sleep(ctx, 100*hostilePause)
	}
}

// waitClosed waits until the other side closes a connection, or ctx ends.
func waitClosed(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close()
	for buf := make([]byte, 512); ; {
		if _, err := conn.Read(buf); err != nil {
			return
		}
	}
}
