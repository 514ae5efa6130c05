package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/wire"
)

const (
	// failoverTimeout is how long the tour waits for another leader.
	failoverTimeout = 20 * time.Second
	// readyEvery is how often to ask a new leader whether it serves.
	readyEvery = 2 * time.Millisecond
	// verifyEvery is how often to compare the servers' states until all servers answer.
	verifyEvery = 100 * time.Millisecond
)

// failover is the kill of a leader and what followed.
type failover struct {
	killed string
	// running has the tasks that ran at that moment.
	running []int
	// over gets the new leader once it serves.
	over chan newLeader
}

type newLeader struct {
	id    string
	after time.Duration
	err   error
}

// killLeader kills the leader, and begins to watch for the next one.
func (h *hashJob) killLeader(ctx context.Context) error {
	info, err := h.cluster.WaitLeader(ctx)
	if err != nil {
		return err
	}
	leader := h.cluster.Server(info.Leader)
	var others []*localcluster.Process
	for _, s := range h.cluster.Servers {
		if s != leader {
			others = append(others, s)
		}
	}
	// The streams are opened before the kill, so that this time is not measured.
	watch, cancel := context.WithTimeout(ctx, failoverTimeout)
	news, err := watchLeader(watch, others, info.Term)
	if err != nil {
		cancel()
		return err
	}
	begun, ended, err := h.runs()
	if err != nil {
		cancel()
		return err
	}
	f := &failover{killed: leader.Name, over: make(chan newLeader, 1)}
	for i := range begun {
		if begun[i] > ended[i] {
			f.running = append(f.running, i)
		}
	}
	start := time.Now()
	leader.Kill()
	h.news(bad, "kill -9 "+leader.Name, fmt.Sprintf("the leader, after %d of %d results, while %d tasks run", h.count, len(h.files), len(f.running)))
	go func() {
		defer cancel()
		f.over <- h.awaitLeader(watch, news, start)
	}()
	h.failover = f
	return nil
}

// awaitLeader waits until a server that was announced as leader serves.
func (h *hashJob) awaitLeader(ctx context.Context, news <-chan string, start time.Time) newLeader {
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	id := ""
	for {
		select {
		case <-ctx.Done():
			return newLeader{id: id, err: errors.New("no other server became leader in time")}
		case id = <-news:
		case <-tick.C:
		}
		if id == "" {
			continue
		}
		if reason, err := h.cluster.Server(id).Ready(ctx); err == nil && reason == "" {
			return newLeader{id: id, after: time.Since(start)}
		}
	}
}

// watchLeader returns a channel of the node ids of leaders with a term above one, as
// servers announce them.
func watchLeader(ctx context.Context, servers []*localcluster.Process, term uint64) (<-chan string, error) {
	news := make(chan string, 16)
	for _, s := range servers {
		conn, err := wire.Dial(s.Addr)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { conn.Close() })
		stream, err := rotav1.NewClusterServiceClient(conn).WatchLeader(ctx, &rotav1.WatchLeaderRequest{})
		if err != nil {
			return nil, err
		}
		if _, err := stream.Recv(); err != nil {
			return nil, fmt.Errorf("watch the leader from %s: %w", s.Name, wire.FromStatus(err))
		}
		go func() {
			for {
				msg, err := stream.Recv()
				if err != nil {
					return // the others go on
				}
				if msg.GetTerm() > term && msg.GetLeader() != "" {
					select {
					case news <- msg.GetLeader():
					case <-ctx.Done():
						return
					}
				}
			}
		}()
	}
	return news, nil
}

// judge prints what became of the job. Anything unexpected is an error.
func (h *hashJob) judge(ctx context.Context) error {
	if h.failover == nil {
		return errors.New("the job ended before the leader could be killed")
	}
	next := <-h.failover.over
	if next.err != nil {
		return next.err
	}
	h.heading("What became of it")
	h.news(good, "new leader", fmt.Sprintf("%s instead of %s", next.id, h.failover.killed))
	h.news(good, "without a leader", short(next.after))
	if err := h.judgeRuns(); err != nil {
		return err
	}
	for i, n := range h.came {
		if n != 1 {
			return fmt.Errorf("task %d.%d has %d results", h.job.ID(), i, n)
		}
	}
	h.news(good, "results", fmt.Sprintf("%d of %d results, each exactly once", h.count, len(h.files)))
	h.news(good, "hashes", "all equal to those computed here")
	return h.restart(ctx)
}

// judgeRuns prints how many of the tasks that ran at the kill were not restarted.
func (h *hashJob) judgeRuns() error {
	begun, _, err := h.runs()
	if err != nil {
		return err
	}
	undisturbed := 0
	for _, i := range h.failover.running {
		if begun[i] == 1 && h.attempts[i] == 1 {
			undisturbed++
		}
	}
	if len(h.failover.running) == 0 {
		return errors.New("no task ran when the leader was killed, so the tour proves nothing")
	}
	text := fmt.Sprintf("%d of %d were not restarted", undisturbed, len(h.failover.running))
	if undisturbed < len(h.failover.running) {
		return fmt.Errorf("of the running tasks, only %s", text)
	}
	h.news(good, "running tasks", text)
	return nil
}

// restart starts the killed server again, and compares the states of all three.
func (h *hashJob) restart(ctx context.Context) error {
	killed := h.cluster.Server(h.failover.killed)
	if err := killed.Start(); err != nil {
		return err
	}
	if err := killed.WaitReady(ctx); err != nil {
		return err
	}
	info, err := h.verify(ctx)
	if err != nil {
		return err
	}
	if !info.OK || len(info.Servers) != len(h.cluster.Servers) {
		return fmt.Errorf("the servers' states differ at index %d: %+v", info.Index, info.Servers)
	}
	h.news(good, "state", fmt.Sprintf("%s is back; all servers have digest %s at index %d", killed.Name, digestText(info.Servers[0]), info.Index))
	return nil
}

// verify compares the servers' states once all of them answer: the leader may take a
// moment to notice that a server is back.
func (h *hashJob) verify(ctx context.Context) (client.VerifyInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, failoverTimeout)
	defer cancel()
	tick := time.NewTicker(verifyEvery)
	defer tick.Stop()
	for {
		info, err := h.client.Verify(ctx)
		silent := slices.ContainsFunc(info.Servers, func(s client.DigestInfo) bool { return s.Error != "" })
		if err != nil || !silent {
			return info, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return info, nil
		}
	}
}
