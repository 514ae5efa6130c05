package workload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
	"github.com/rota-scheduler/rota/jepsen-tests/network"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// Client is one client: an SDK client and connections of its own to every server.
type Client struct {
	Random *rand.Rand

	env *Env
	// process is its number in the history, which changes after each call that nobody
	// knows the end of.
	process int
	name    string
	// session names the client whatever process it is.
	session string
	// applied is the highest index that it was told of: reads that may be stale must reach it.
	applied uint64
	// totals is the most tasks that it has seen of jobs.
	totals map[uint64]uint32
	sdk    *client.Client
	conns  []*cluster.Conn
}

// newClient returns the nth client, on a host.
func newClient(env *Env, n int, host *network.Host) (*Client, error) {
	c := &Client{
		Random: rand.New(rand.NewPCG(env.Seed, uint64(100+n))), env: env, process: n, name: host.Addr.String(),
		session: fmt.Sprintf("client-%d", n), totals: map[uint64]uint32{},
	}
	var err error
	if c.sdk, err = env.Cluster.Client(host); err != nil {
		return nil, err
	}
	for _, s := range env.Cluster.Servers {
		conn, err := s.Dial(host)
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		c.conns = append(c.conns, conn)
	}
	return c, nil
}

func (c *Client) close() error {
	errs := []error{c.sdk.Close()}
	for _, conn := range c.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// learn notes what an answer says of a job, as of a log index.
func (c *Client) learn(job uint64, total uint32, applied uint64) {
	c.applied = max(c.applied, applied)
	c.totals[job] = max(c.totals[job], total)
}

// anyServer is the connection to one server, whichever.
func (c *Client) anyServer() *cluster.Conn { return c.conns[c.Random.IntN(len(c.conns))] }

// call records a call: its start, what do makes of it, and its end. ok says that it
// succeeded. What do returns beside an error is recorded too.
func call[In, Out any](ctx context.Context, c *Client, f history.F, in In, do func(ctx context.Context) (Out, error)) (out Out, ok bool) {
	op := history.Op{Type: history.Invoke, F: f, Process: c.process, Node: c.name}
	c.env.Recorder.Record(op, in)
	ctx, cancel := context.WithTimeout(ctx, c.env.Timeout)
	defer cancel()
	out, err := do(ctx)
	op.Type = outcome(err)
	if err != nil {
		op.Error = err.Error()
	}
	c.env.Recorder.Record(op, out)
	if op.Type == history.Info {
		c.process += c.env.Concurrency
	}
	return out, err == nil
}

// outcome is what an error says about what happened.
func outcome(err error) history.Type {
	if err == nil {
		return history.OK
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return history.Info
	}
	switch task.KindOf(wire.FromStatus(err)) {
	case task.KindInvalid, task.KindNotFound, task.KindConflict, task.KindTooLarge, task.KindExhausted, task.KindUnavailable, task.KindOtherCluster, task.KindUnsupported:
		return history.Fail
	default:
		return history.Info
	}
}

// isKind says whether an error has a kind.
func isKind(err error, kind task.Kind) bool {
	return err != nil && task.KindOf(wire.FromStatus(err)) == kind
}
