package node

import (
	"sync"

	"github.com/hashicorp/raft"
)

// pipelined is raft's transport with pipelines that end when a follower refuses what
// came through them.
//
// Raft ends a pipeline at the first refusal, but only once its sender looks up. With
// few requests in flight the sender may be in AppendEntries by then, waiting for room
// that nobody will make any more. That follower then never gets another entry: nothing
// shows it, as heartbeats go on, and only another leader helps
// (https://github.com/hashicorp/raft/issues/612). One write that finds the disk full
// is enough.
type pipelined struct {
	*raft.NetworkTransport
}

// AppendEntriesPipeline implements raft.Transport.
func (p pipelined) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	inner, err := p.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	return newPipeline(inner), nil
}

// pipeline is a raft.AppendPipeline that closes itself behind a refusal.
type pipeline struct {
	raft.AppendPipeline
	answers chan raft.AppendFuture
	once    sync.Once
	closed  chan struct{}
}

func newPipeline(inner raft.AppendPipeline) *pipeline {
	p := &pipeline{AppendPipeline: inner, answers: make(chan raft.AppendFuture), closed: make(chan struct{})}
	go p.forward()
	return p
}

// forward hands answers on until the first refusal, or until raft closes the pipeline.
func (p *pipeline) forward() {
	for {
		select {
		case f := <-p.AppendPipeline.Consumer():
			refused := f.Error() != nil || !f.Response().Success
			if refused {
				// The sender is let go first. Raft reads this answer and then no more.
				_ = p.AppendPipeline.Close()
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

// Consumer implements raft.AppendPipeline.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.answers }

// Close implements raft.AppendPipeline.
func (p *pipeline) Close() error {
	p.once.Do(func() { close(p.closed) })
	return p.AppendPipeline.Close()
}
