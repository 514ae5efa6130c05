package wire

import (
	"context"
	"sync"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

const (
	// maxHeld bounds what streams hold for their clients, bytes, of all connections together: decoded requests that
	// wait, and answers that are not sent yet. Beyond it, the connection with the most ends.
	maxHeld = 128 << 20
	// tinyMessage is the largest message of a stream that is decoded as soon as it arrives, bytes.
	tinyMessage = 8 << 10
	// decodedAtOnce is how many larger messages are decoded at once: each may take a hundred times its size, and counts
	// only when it is decoded.
	decodedAtOnce = 4
	// readAtOnce is how many answers that may be large are read at once, and ownReadAtOnce how many of one connection:
	// each takes several times its size meanwhile, and counts only when it is sent.
	readAtOnce, ownReadAtOnce = 8, 4
	// walksAtOnce is how many calls go through much of the state at once, and ownWalksAtOnce how many of one connection:
	// thousands would leave no time for anything else.
	walksAtOnce, ownWalksAtOnce = 4, 2
	// maxLeftOver is how much memory connections that have ended may still take while answers are read, bytes.
	maxLeftOver = 16 << 20
	// leftOverWait is how long an answer waits for that. A call that does not end soon must not keep others from their
	// answers: then readAtOnce answers are read in this time.
	leftOverWait = time.Second
	// decodedFactor is about how many times its size a decoded message takes, and decodedItem how much each of its items
	// takes beyond that, bytes.
	decodedFactor, decodedItem = 2, 512
)

// Holding is the memory that a call holds for its client, without the messages that are arriving or being sent. It is safe
// for concurrent use. The zero Holding counts nothing.
type Holding struct {
	conn *arrivingConn
	// size and ended have the mu of the connection.
	size  int64
	ended bool
}

// HoldingOf returns the Holding of a call, by its context.
func HoldingOf(ctx context.Context) *Holding { return &Holding{conn: connOf(ctx)} }

// Take adds bytes. It may end connections, the one that holds the most first, even this one.
func (h *Holding) Take(bytes int64) {
	c := h.conn
	if c == nil {
		return
	}
	c.mu.Lock()
	if h.ended {
		c.mu.Unlock()
		return
	}
	h.size += bytes
	c.arrivals.inMemory.add(bytes)
	if !c.dead {
		c.holds(bytes)
	}
	c.mu.Unlock()
	for c.arrivals.held.Load() > c.arrivals.mostHeld {
		over := c.arrivals.worst(func(c *arrivingConn) int64 { return c.held.Load() })
		if over == nil {
			return
		}
		c.arrivals.end(over)
	}
}

// Give takes bytes off again.
func (h *Holding) Give(bytes int64) {
	if c := h.conn; c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		h.give(bytes)
	}
}

// End takes off all that is left. Nothing can be added after it.
func (h *Holding) End() {
	if c := h.conn; c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		h.give(h.size)
		h.ended = true
	}
}

// give is Give with the mu of the connection held.
func (h *Holding) give(bytes int64) {
	bytes = min(bytes, h.size)
	h.size -= bytes
	h.conn.arrivals.inMemory.add(-bytes)
	if !h.conn.dead { // what it held was taken off when the connection ended
		h.conn.holds(-bytes)
	}
}

// holds adds to what the connection holds. mu is held.
func (c *arrivingConn) holds(bytes int64) {
	c.held.Add(bytes)
	c.arrivals.held.Add(bytes)
}

// inMemory is what all streams hold, with those of connections that have just ended, and the answers that these had to
// send: their calls take a moment to end.
type inMemory struct {
	mu      sync.Mutex
	changed *sync.Cond
	bytes   int64
}

func newInMemory() *inMemory {
	m := &inMemory{}
	m.changed = sync.NewCond(&m.mu)
	return m
}

func (m *inMemory) add(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bytes += bytes; bytes < 0 {
		m.changed.Broadcast()
	}
}

// within says whether no more than so many bytes are held.
func (m *inMemory) within(bytes int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bytes <= bytes
}

// atMost waits until no more than so many bytes are held, or ctx ends.
func (m *inMemory) atMost(ctx context.Context, bytes int64) error {
	return m.wait(ctx, func() int64 { return bytes })
}

// wait is atMost with a bound that changes: it asks for the bound each time something is given back.
func (m *inMemory) wait(ctx context.Context, most func() int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bytes > most() {
		// With the lock: otherwise one that is about to wait would miss it.
		stop := context.AfterFunc(ctx, func() { m.add(0); m.changed.Broadcast() })
		defer stop()
	}
	for m.bytes > most() {
		if err := ctx.Err(); err != nil {
			return err
		}
		m.changed.Wait()
	}
	return nil
}

// Read runs f, which reads an answer that may be large from the state, for a call. Without it, thousands of calls that
// arrive at once would read all of their answers before the first one is sent and before connections that do not read
// them are ended.
func Read(ctx context.Context, f func() error) error {
	c := connOf(ctx)
	if c == nil {
		return f()
	}
	return c.inTurn(ctx, c.reading, c.arrivals.reading, f)
}

// Walk is Read for calls that may go through much of the state. Reads do not wait for them.
func Walk(ctx context.Context, f func() error) error {
	c := connOf(ctx)
	if c == nil {
		return f()
	}
	return c.inTurn(ctx, c.walking, c.arrivals.walking, f)
}

// inTurn runs f with one of the places of the connection and one of those of all. So nobody waits for all the calls of
// another connection.
func (c *arrivingConn) inTurn(ctx context.Context, own, all chan struct{}, f func() error) error {
	for _, places := range [...]chan struct{}{own, all} {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := c.arrivals.awaitLeftOver(ctx); err != nil {
		return err
	}
	if c.isDead() { // its call is about to get the error
		return errTooMuchHeld
	}
	return f()
}

// awaitLeftOver waits for some time until connections that have ended have left memory.
func (a *arrivals) awaitLeftOver(ctx context.Context) error {
	most := func() int64 { return a.held.Load() + maxLeftOver }
	if a.inMemory.within(most()) {
		return ctx.Err()
	}
	short, cancel := context.WithTimeout(ctx, leftOverWait)
	defer cancel()
	_ = a.inMemory.wait(short, most) // after a long enough wait it goes on all the same
	return ctx.Err()
}

// incoming is a message of a stream that is about to be decoded, and the size that it had on the
// wire, which the codec notes.
type incoming struct {
	message any
	size    int
	stream  *countedStream
}

// decode decodes the message and takes its memory into account.
func (in *incoming) decode(size int, decode func() error) error {
	in.size = size
	if size <= tinyMessage {
		return decode()
	}
	a, ctx := in.stream.conn.arrivals, in.stream.Context()
	a.decoding <- struct{}{}
	defer func() { <-a.decoding }()
	// Connections that held too much have been ended, so this waits only for their calls.
	if err := a.inMemory.atMost(ctx, a.mostHeld); err != nil {
		return err
	}
	if err := decode(); err != nil {
		return err
	}
	in.stream.current = int64(size)*decodedFactor + itemsOf(in.message)*decodedItem
	in.stream.holding.Take(in.stream.current)
	if in.stream.conn.isDead() { // perhaps for this message: no handler must begin with it
		return errTooMuchHeld
	}
	return nil
}

var errTooMuchHeld = task.Errorf(task.KindExhausted, "the server has ended the connection: it holds too much for those who do not read")

func (c *arrivingConn) isDead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}

// itemsOf is how many items a message has of the kinds that may take far more memory than their bytes.
func itemsOf(m any) (n int64) {
	switch m := m.(type) {
	case *rotav1.SubmitStreamRequest:
		n = int64(len(m.Submits))
	case *rotav1.SessionRequest:
		for _, g := range m.GetReports().GetGroups() {
			n += 1 + int64(len(g.GetRanges()))
		}
		for _, held := range m.GetHello().GetHeld() {
			n += 1 + int64(len(held.GetRanges()))
		}
	}
	return n
}
