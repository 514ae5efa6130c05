package wire

import (
	"context"
	"slices"
	"sync"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
)

// Workers and clients follow the highest term that they have heard of. One server that
// claims a term which there never was would have them for good: they would take every real
// leader for a deposed one. A leader needs the votes of a majority in its term, and no server
// ever goes back to a lower one. So a majority that has not reached a term is proof that
// nobody leads in it, and that is asked for where a claim is doubtful.

const (
	// MaxTermLeap is how far a term may be ahead of the highest that is known to be taken at a
	// server's word: an election every 400 ms for an hour.
	MaxTermLeap = 10_000
	// termTimeout bounds the question for a server's term, or its cluster.
	termTimeout = time.Second
	// maxAsked bounds the servers that are asked.
	maxAsked = 64
)

// TermSource is a server that can be asked for its term, and for its cluster. Close, which may be nil, is called
// afterwards.
type TermSource struct {
	Client rotav1.ClusterServiceClient
	Close  func()
}

// AskTerms asks servers for their terms, all at once, by a function that connects to an
// address. Those that do not answer count with 0.
func AskTerms(ctx context.Context, addrs []string, connect func(addr string) (TermSource, error)) []uint64 {
	terms := make([]uint64, min(len(addrs), maxAsked))
	for i, m := range askAll(ctx, addrs, connect) {
		terms[i] = m.GetTerm()
	}
	return terms
}

// askAll asks servers, all at once, what they tell of the cluster; nil of those that do not answer.
func askAll(ctx context.Context, addrs []string, connect func(addr string) (TermSource, error)) []*rotav1.WatchLeaderResponse {
	ctx, cancel := context.WithTimeout(ctx, termTimeout)
	defer cancel()
	answers := make([]*rotav1.WatchLeaderResponse, min(len(addrs), maxAsked))
	var wg sync.WaitGroup
	for i, addr := range addrs[:len(answers)] {
		wg.Go(func() { answers[i] = askOne(ctx, addr, connect) })
	}
	wg.Wait()
	return answers
}

func askOne(ctx context.Context, addr string, connect func(addr string) (TermSource, error)) *rotav1.WatchLeaderResponse {
	s, err := connect(addr)
	if err != nil {
		return nil
	}
	if s.Close != nil {
		defer s.Close()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := s.Client.WatchLeader(ctx, &rotav1.WatchLeaderRequest{})
	if err != nil {
		return nil
	}
	m, err := stream.Recv()
	if err != nil {
		return nil
	}
	return m
}

// MajorityTerm is the highest term that a majority of the servers has reached; 0 where a
// majority did not answer.
func MajorityTerm(terms []uint64) uint64 {
	if len(terms) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(terms))
	return sorted[(len(sorted)-1)/2]
}

// Refuted says whether a majority of the servers has answered, and has not reached a term.
func Refuted(terms []uint64, term uint64) bool {
	below := 0
	for _, t := range terms {
		if t != 0 && t < term {
			below++
		}
	}
	return below > len(terms)/2
}
