package wire

import (
	"context"
	"sync"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

const (
	// maxHeld bounds what streams hold for their clients: requests that were decoded and wait, and
	// answers that were not sent yet; bytes, those of all connections together. Beyond it the
	// connection ends that has most of them.
	maxHeld = 128 << 20
	// tinyMessage is up to which size a message of a stream is decoded whenever it comes, bytes.
	tinyMessage = 8 << 10
	// decodedAtOnce is how many of the larger ones are decoded at once: each may take a hundred
	// times its size, and counts only when it is decoded.
	decodedAtOnce = 4
	// readAtOnce is how many answers are read at once that may be large, and ownReadAtOnce those of one
	// connection: each takes several times its size meanwhile, and counts only when it is sent.
	readAtOnce, ownReadAtOnce = 8, 4
	// walksAtOnce is how many calls look through much of the state at once, and ownWalksAtOnce those of
	// one connection: thousands would leave no time for anything else.
	walksAtOnce, ownWalksAtOnce = 4, 2
	// maxLeftOver is how much connections that have ended may leave in memory while answers are read, bytes.
	maxLeftOver = 16 << 20
	// leftOverWait is how long an answer waits for that: a call that does not end soon must not keep
	// others from theirs. Then readAtOnce answers are read in that time.
	leftOverWait = time.Second
	// decodedFactor is about how much a decoded message takes of its size, and decodedItem what each
	// of its items takes beyond that, bytes.
	decodedFactor, decodedItem = 2, 512
)

// Holding is the memory that a call holds for its client, apart from messages that come and go
// just now. It is safe for concurrent use. The zero Holding counts nothing.
type Holding struct {
	conn *arrivingConn
	// size and ended have the mu of the connection.
	size  int64
	ended bool
}

// HoldingOf returns that of a call, by its context.
func HoldingOf(ctx context.Context) *Holding { return &Holding{conn: connOf(ctx)} }

// Take adds bytes. It may end connections, those who hold most first, this one not excepted.
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

// End takes off all that is left. Nothing is added any more.
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
	if !h.conn.dead { // what it held was taken off when it died
		h.conn.holds(-bytes)
	}
}

// holds adds to what the connection holds. mu is held.
func (c *arrivingConn) holds(bytes int64) {
	c.held.Add(bytes)
	c.arrivals.held.Add(bytes)
}

// inMemory is what all streams hold, those of connections too that have just been ended, and the answers
// that these had to be sent: their calls take a moment to end.
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

// wait is atMost where the bound changes; it is asked for when something is given back.
func (m *inMemory) wait(ctx context.Context, most func() int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bytes > most() {
		// The lock is taken, or one that is about to wait would miss it.
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

// Read runs f, which reads an answer from the state that may be large, for a call. Thousands of calls
// that come at once would have read all of theirs before the first of them is sent, and the
// connections that do not read them are ended.
func Read(ctx context.Context, f func() error) error {
	c := connOf(ctx)
	if c == nil {
		return f()
	}
	return c.inTurn(ctx, c.reading, c.arrivals.reading, f)
}

// Walk is Read for what may look through much of the state. Reads do not wait for it.
func Walk(ctx context.Context, f func() error) error {
	c := connOf(ctx)
	if c == nil {
		return f()
	}
	return c.inTurn(ctx, c.walking, c.arrivals.walking, f)
}

// inTurn runs f with one of the places of the connection, and one of all. So nobody waits behind all the
// calls of another connection.
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
	if c.isDead() { // its call is about to hear of it
		return errTooMuchHeld
	}
	return f()
}

// awaitLeftOver waits for calls and answers of connections that have ended, for some time.
func (a *arrivals) awaitLeftOver(ctx context.Context) error {
	most := func() int64 { return a.held.Load() + maxLeftOver }
	if a.inMemory.within(most()) {
		return ctx.Err()
	}
	short, cancel := context.WithTimeout(ctx, leftOverWait)
	defer cancel()
	_ = a.inMemory.wait(short, most) // who has waited long enough goes on
	return ctx.Err()
}

// incoming is a message of a stream that is about to be decoded, and the size that it had on the
// wire, which the codec notes.
type incoming struct {
	message any
	size    int
	stream  *countedStream
}

// decode decodes the message and takes it into account.
func (in *incoming) decode(size int, decode func() error) error {
	in.size = size
	if size <= tinyMessage {
		return decode()
	}
	a, ctx := in.stream.conn.arrivals, in.stream.Context()
	a.decoding <- struct{}{}
	defer func() { <-a.decoding }()
	// Connections that held too much have been ended: this waits for their calls only.
	if err := a.inMemory.atMost(ctx, a.mostHeld); err != nil {
		return err
	}
	if err := decode(); err != nil {
		return err
	}
	in.stream.current = int64(size)*decodedFactor + itemsOf(in.message)*decodedItem
	in.stream.holding.Take(in.stream.current)
	if in.stream.conn.isDead() { // for this, perhaps: nobody is to begin with it
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

// itemsOf is how many items a message has, of those that may take far more than their bytes.
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
