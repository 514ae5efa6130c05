package raftnet

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// idleInterval is how often a pipeline repeats itself: often enough to notice soon that
// its connection is gone.
const idleInterval = 100 * time.Millisecond

// pipelined is raft's transport with pipelines that end when a follower refuses what
// came through them.
//
// Raft ends a pipeline at the first refusal, but only when its sender notices. With few requests in flight the
// sender may be in AppendEntries by then, waiting for room that nobody will make any more. That follower then never
// gets another entry. Nothing shows this, because heartbeats go on, and only another leader helps
// (https://github.com/hashicorp/raft/issues/612). One write that finds the disk full is enough.
type pipelined struct {
	*raft.NetworkTransport
	// sizes bounds what servers are sent, and progress is told of what they have.
	sizes    *batchSizes
	progress *progress
}

// AppendEntriesPipeline implements raft.Transport.
func (p pipelined) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	inner, err := p.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	return newPipeline(inner, id, p.sizes, p.progress), nil
}

// pipeline is a raft.AppendPipeline that closes itself after a refusal, and does not repeat itself.
//
// Raft tells followers of commits by messages that it sends every CommitTimeout, whether there is news or not. With
// a CommitTimeout of a few milliseconds, they take a tenth of a CPU in a cluster that has nothing to do. So messages
// without news are not sent. Raft has to do without many answers anyway, and a leader keeps its place by heartbeats,
// which go another way.
type pipeline struct {
	raft.AppendPipeline
	id       raft.ServerID
	sizes    *batchSizes
	progress *progress
	// commit is the commit index that the follower was last told, at said. Only raft's
	// goroutine for that follower uses them.
	commit uint64
	said   time.Time

	answers chan raft.AppendFuture
	once    sync.Once
	closed  chan struct{}
}

func newPipeline(inner raft.AppendPipeline, id raft.ServerID, sizes *batchSizes, pr *progress) *pipeline {
	p := &pipeline{AppendPipeline: inner, id: id, sizes: sizes, progress: pr, answers: make(chan raft.AppendFuture), closed: make(chan struct{})}
	go p.forward()
	return p
}

// forward hands answers on until the first refusal, or until raft closes the pipeline.
func (p *pipeline) forward() {
	for {
		select {
		case f := <-p.AppendPipeline.Consumer():
			p.sizes.sent(p.id, f.Request(), f.Error() == nil)
			refused := f.Error() != nil || !f.Response().Success
			if refused {
				// The sender is released first. Raft reads this answer and then no more.
				_ = p.AppendPipeline.Close()
			} else {
				p.progress.has(p.id, lastOf(f.Request()))
			}
			select {
			case p.answers <- f:
			case <-p.closed:
				return
			}
			if refused {
				return
			}
		case <-p.closed:
			return
		}
	}
}

// AppendEntries implements raft.AppendPipeline.
func (p *pipeline) AppendEntries(req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	now := time.Now()
	if len(req.Entries) == 0 && req.LeaderCommitIndex == p.commit && now.Sub(p.said) < idleInterval {
		return &unsent{start: now, req: req, resp: resp}, nil
	}
	p.commit, p.said = req.LeaderCommitIndex, now
	p.sizes.limit(p.id, req)
	return p.AppendPipeline.AppendEntries(req, resp)
}

// unsent is the raft.AppendFuture of a message that was not sent. No answer to it comes.
type unsent struct {
	start time.Time
	req   *raft.AppendEntriesRequest
	resp  *raft.AppendEntriesResponse
}

func (u *unsent) Error() error                          { return nil }
func (u *unsent) Start() time.Time                      { return u.start }
func (u *unsent) Request() *raft.AppendEntriesRequest   { return u.req }
func (u *unsent) Response() *raft.AppendEntriesResponse { return u.resp }

// Consumer implements raft.AppendPipeline.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.answers }

// Close implements raft.AppendPipeline.
func (p *pipeline) Close() error {
	p.once.Do(func() { close(p.closed) })
	return p.AppendPipeline.Close()
}
