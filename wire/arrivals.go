package wire

import (
	"container/list"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
)

const (
	// maxStreams bounds the calls that one connection may have under way: a program with a
	// connection of its own and a thousand goroutines that wait for jobs.
	maxStreams = 1024
	// maxAllStreams bounds the calls of all connections: a session and a watch for each worker that a cluster may
	// have, and some more. Each has one to three goroutines, about 20 KiB.
	maxAllStreams = 32 << 10
	// maxArriving is how much of incomplete messages a server holds for all its connections together, bytes. A
	// message of the SDK has at most 256 KiB.
	maxArriving = 96 << 20
	// arrivalTimeout is how long a message may take to arrive: 4 MiB over a line of 1.1 Mbit/s.
	arrivalTimeout = 30 * time.Second
	// fewStreams is how many calls of a connection are not counted as its crowd: a worker has a session, a watch and a
	// few calls. maxCrowd bounds all calls beyond that, of all connections together: 64 programs with 80 calls each.
	// Beyond it the connection with the most calls ends.
	fewStreams = 16
	maxCrowd   = 4 << 10
	// streamCost is about the memory of a call that waits for its request, and frameCost that of a part of a message
	// beside its bytes, bytes.
	streamCost, frameCost = 16 << 10, 64
)

// arrivals keeps account of the messages that are arriving at a server. gRPC gives every stream the room that its message
// needs, up to the largest message, for as long as it takes: 600 calls whose last byte was missing held 5 GB for ever.
// gRPC tells nobody how much has arrived, so each connection looks at the frames that pass (framing.go).
//
// If too much is arriving, or a message takes too long, the connection that has waited longest ends: good requests arrive
// within milliseconds. Its client takes the connection for broken, and sends what is safe to send again to another
// server.
type arrivals struct {
	timeout                      time.Duration
	most, mostStreams, mostCrowd int64
	// mostUnsent, mostUnread and mostHeld bound unsent, unread and held.
	mostUnsent, mostUnread, mostHeld int64
	// streams is how many are open, crowd those beyond the few of each connection, unsent the bytes of answers that wait for their clients
	// (answers.go), ended how many connections had to end.
	streams, crowd, unsent, ended atomic.Int64
	// unread is the bytes of messages that nobody has looked at yet, underWay the memory of large
	// calls (requests.go).
	unread, underWay atomic.Int64
	// held is the memory that streams hold (holdings.go), inMemory that with those of connections
	// that have ended, and their answers. decoding has a place for each message that is being decoded,
	// reading for each answer that is being read, and walking for each search.
	held                       atomic.Int64
	inMemory                   *inMemory
	decoding, reading, walking chan struct{}
	tooLarge                   *tooLarge

	mu sync.Mutex
	// waiting is the streams whose message has begun, or that have had none yet, oldest first.
	waiting list.List
	bytes   int64
	timer   *time.Timer
	conns   map[*arrivingConn]struct{}
}

func newArrivals() *arrivals {
	return &arrivals{
		timeout: arrivalTimeout, most: maxArriving, mostStreams: maxAllStreams, mostCrowd: maxCrowd, mostUnsent: maxUnsent, mostUnread: maxUnread, mostHeld: maxHeld,
		inMemory: newInMemory(), decoding: make(chan struct{}, decodedAtOnce), reading: make(chan struct{}, readAtOnce), walking: make(chan struct{}, walksAtOnce),
		tooLarge: &tooLarge{}, conns: map[*arrivingConn]struct{}{},
	}
}

// note brings the account up to date with what has arrived on a stream. It returns the connection that has to end for
// it, or nil. The mu of the stream's connection is held.
func (a *arrivals) note(s *arriving) (over *arrivingConn) {
	cost := s.cost()
	if cost == 0 && s.at == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bytes += cost - s.counted
	s.counted = cost
	switch {
	case cost == 0:
		a.waiting.Remove(s.at)
		s.at = nil
	case s.at == nil:
		s.since = time.Now()
		s.at = a.waiting.PushBack(s)
		if a.timer == nil {
			a.timer = time.AfterFunc(a.timeout, a.expire)
		}
	}
	if a.bytes > a.most {
		return a.waiting.Front().Value.(*arriving).conn
	}
	return nil
}

// expire ends connections with a message that takes too long to arrive.
func (a *arrivals) expire() {
	for {
		a.mu.Lock()
		front := a.waiting.Front()
		if front == nil {
			a.timer = nil
			a.mu.Unlock()
			return
		}
		s := front.Value.(*arriving)
		if left := a.timeout - time.Since(s.since); left > 0 {
			a.timer.Reset(left)
			a.mu.Unlock()
			return
		}
		a.mu.Unlock()
		a.end(s.conn)
	}
}

// end ends a connection and takes what it held off the account. No mu is held.
func (a *arrivals) end(c *arrivingConn) {
	a.ended.Add(1)
	c.counted()
	c.settle()
	_ = c.Conn.Close() // its reader gets the error
}

// opened and closed keep account of streams. If there are too many, opened returns the connection with the most, which
// has to end; else nil. The mu of c is held.
func (a *arrivals) opened(c *arrivingConn) (over *arrivingConn) {
	tooMany := a.streams.Add(1) > a.mostStreams
	if c.open.Add(1) > fewStreams {
		tooMany = a.crowd.Add(1) > a.mostCrowd || tooMany
	}
	if !tooMany {
		return nil
	}
	return a.worst(func(c *arrivingConn) int64 { return c.open.Load() })
}

func (a *arrivals) closed(c *arrivingConn) {
	if c.open.Add(-1) >= fewStreams {
		a.crowd.Add(-1)
	}
	a.streams.Add(-1)
}

// known adds a connection to the account, forgotten removes it.
func (a *arrivals) known(c *arrivingConn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conns[c] = struct{}{}
}

func (a *arrivals) forgotten(c *arrivingConn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.conns, c)
}

// guarded is credentials that put the accounting connection between gRPC and the secured one.
type guarded struct {
	credentials.TransportCredentials
	arrivals *arrivals
}

// ServerHandshake implements credentials.TransportCredentials.
func (g guarded) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := g.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	c := newArrivingConn(conn, raw, g.arrivals)
	return c, guardedInfo{info, c}, nil
}

// Clone implements credentials.TransportCredentials.
func (g guarded) Clone() credentials.TransportCredentials {
	return guarded{g.TransportCredentials.Clone(), g.arrivals}
}
