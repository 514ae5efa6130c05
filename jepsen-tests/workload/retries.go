package workload

import (
	"context"

	"github.com/rota-scheduler/rota/jepsen-tests/history"
	"github.com/rota-scheduler/rota/jepsen-tests/ledger"
	"github.com/rota-scheduler/rota/task"
)

// retries submits jobs whose attempts fail, are lost, and are reported late, twice and
// under old tokens: by agents, and as commands of real workers.
type retries struct {
	numbers
	agents *agents
}

// mostAttempts bounds how often a task may fail: the backoff doubles each time.
const mostAttempts = 4

func (q *retries) begin(env *Env) { q.agents = startAgents(env) }

func (q *retries) step(ctx context.Context, c *Client) {
	s := history.Submit{
		Key: q.key("retry"), Tasks: 1, Attempts: uint32(1 + c.Random.IntN(mostAttempts)),
		// Backoff has a jitter of a quarter.
		BackoffNs: (task.BackoffBase * 3 / 4).Nanoseconds(),
	}
	spec := task.Spec{Handler: agentHandler, MaxAttempts: s.Attempts}
	if c.Random.IntN(3) == 0 {
		spec = task.Spec{
			Command: []string{"sh", "-c", ledger.FailingScript}, MaxAttempts: s.Attempts,
			Env: []task.Pair{{Key: ledger.Env, Value: c.env.Ledger}},
		}
	}
	if c.Random.IntN(4) == 0 {
		s.Tasks = 3
	}
	c.submit(ctx, s, spec)
}

// end makes the agents honest, so that everything comes to its end.
func (q *retries) end(context.Context, *Client) error {
	q.agents.honest.Store(true)
	return nil
}

func (q *retries) close() { q.agents.close() }
