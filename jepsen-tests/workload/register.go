package workload

import (
	"context"
	"fmt"
	"sync"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
	"github.com/rota-scheduler/rota/task"
)

// registers uses open jobs as registers: an append names the place that it belongs to, so
// it is a compare-and-set of the job's length, and a read returns the length.
type registers struct {
	numbers

	mu sync.Mutex
	// open is the registers that are in use.
	open []*register
}

// register is one open job, and its length as far as it is known.
type register struct {
	job  uint64
	uses int
	// length is the newest that anybody read, under the lock of registers.
	length uint32
}

const (
	// openRegisters are in use at once, each for registerUses operations: what Porcupine
	// can order in no time.
	openRegisters, registerUses = 3, 80
	// registerTimeout bounds an append or a read. It is short, so that clients still ask a
	// paused server when others have moved on: what it answers when it goes on must not be
	// what it knew before.
	registerTimeout = 700 * time.Millisecond
)

func (q *registers) step(ctx context.Context, c *Client) {
	r := q.pick(c)
	if r == nil {
		s := history.Submit{Key: q.key("register"), Open: true}
		made, ok := c.submit(ctx, s, task.Spec{Handler: "rota.echo"})
		if ok {
			q.add(made.Job)
		}
		return
	}
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	if c.Random.IntN(4) == 0 {
		c.readStale(ctx, r.job)
		return
	}
	if c.Random.IntN(2) == 0 {
		out, ok := call(ctx, c, history.FRead, history.ReadJob{Job: r.job}, func(ctx context.Context) (history.JobRead, error) {
			resp, err := c.anyServer().Jobs.GetJob(ctx, &rotav1.GetJobRequest{JobId: r.job})
			if err == nil {
				c.learn(r.job, resp.GetJob().GetTasks().GetTotal(), resp.GetAppliedIndex())
			}
			return history.JobRead{Job: r.job, Total: resp.GetJob().GetTasks().GetTotal(), State: stateName(resp.GetJob())}, err
		})
		if ok {
			q.learn(r, out.Total)
		}
		return
	}
	in := history.Append{Job: r.job, At: q.length(r), Payload: q.key("p")}
	out, ok := call(ctx, c, history.FAppend, in, func(ctx context.Context) (history.Appended, error) {
		resp, err := c.anyServer().Jobs.AppendTasks(ctx, &rotav1.AppendTasksRequest{
			JobId: r.job, FirstIndex: in.At, Tasks: &rotav1.TaskSet{Count: 1, PackedPayloads: task.PackAppend(nil, []byte(in.Payload))},
		})
		if isKind(err, task.KindConflict) || isKind(err, task.KindInvalid) {
			return history.Appended{Refused: true}, nil
		}
		if err == nil {
			c.learn(r.job, resp.GetTotal(), resp.GetAppliedIndex())
		}
		return history.Appended{Total: resp.GetTotal()}, err
	})
	if ok && !out.Refused {
		q.learn(r, out.Total)
	}
}

// readStale reads a register from what any server has, which must not be behind what this
// client has seen.
func (c *Client) readStale(ctx context.Context, job uint64) {
	in := history.Stale{Session: c.session, Job: job, Min: c.applied, Total: c.totals[job]}
	call(ctx, c, history.FStale, in, func(ctx context.Context) (history.StaleRead, error) {
		resp, err := c.anyServer().Jobs.GetJob(ctx, &rotav1.GetJobRequest{JobId: job, Read: &rotav1.ReadOptions{Stale: true, MinIndex: in.Min}})
		if err == nil {
			c.learn(job, resp.GetJob().GetTasks().GetTotal(), resp.GetAppliedIndex())
		}
		return history.StaleRead{Applied: resp.GetAppliedIndex(), Total: resp.GetJob().GetTasks().GetTotal()}, err
	})
}

// pick returns a register to use, or nil if another one is to be made.
func (q *registers) pick(c *Client) *register {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.open) < openRegisters {
		return nil
	}
	at := c.Random.IntN(len(q.open))
	r := q.open[at]
	if r.uses++; r.uses == registerUses {
		q.open = append(q.open[:at], q.open[at+1:]...)
	}
	return r
}

func (q *registers) add(job uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open = append(q.open, &register{job: job})
}

func (q *registers) learn(r *register, length uint32) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r.length = max(r.length, length)
}

func (q *registers) length(r *register) uint32 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return r.length
}

// end closes all registers, also those whose submit nobody knew the end of, so that their
// tasks run to their end.
func (q *registers) end(ctx context.Context, c *Client) error {
	open, err := openJobs(ctx, c)
	if err != nil {
		return err
	}
	for _, j := range open {
		err := cluster.Await(ctx, fmt.Sprintf("the end of register %d", j.ID), func() error {
			conn := c.anyServer().Jobs
			resp, err := conn.GetJob(ctx, &rotav1.GetJobRequest{JobId: j.ID})
			if err != nil || !resp.GetJob().GetOpen() {
				return err
			}
			total := resp.GetJob().GetTasks().GetTotal()
			if total == 0 {
				_, err = conn.CancelJob(ctx, &rotav1.CancelJobRequest{JobId: j.ID})
				return err
			}
			_, err = conn.CloseTasks(ctx, &rotav1.CloseTasksRequest{JobId: j.ID, Total: total})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
