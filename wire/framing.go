package wire

import (
	"cmp"
	"container/list"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc/mem"
)

// From HTTP/2 (RFC 9113): the size of the head of a frame, the types of frames that matter here, and their flags. A client
// begins with a preface. From gRPC: the size of the head of a message, which is a byte and its length.
const (
	frameHead   = 9
	messageHead = 5
	prefaceSize = len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

	frameData    = 0
	frameHeaders = 1
	frameReset   = 3

	flagEndStream = 0x1
	flagPadded    = 0x8
)

// arrivingConn is the server's end of a connection. It keeps account of what arrives.
type arrivingConn struct {
	net.Conn
	arrivals *arrivals
	// busy is the door's count of the calls that are under way on this connection.
	busy *atomic.Int64
	// open is how many streams it has. unsent is the bytes of answers that are not sent yet, unread those of messages
	// that no handler has looked at yet, held those that its streams hold.
	open, unsent, unread, held atomic.Int64
	// calls is how many handlers are under way, with those of streams that have ended.
	calls atomic.Int64
	// reading and walking have places as those of the account do, for this connection.
	reading, walking chan struct{}

	mu sync.Mutex
	// dead: the connection has ended; forsaken: gRPC knows that. left is the answers that were not sent by then. They
	// stay in memory for as long as handlers are under way.
	dead, forsaken bool
	left           int64
	in, out        frames
	streams        map[uint32]*arriving
	// over is a connection that has to end for what has arrived.
	over *arrivingConn

	// raw is the socket, if nothing is in between; else nil.
	raw     syscall.RawConn
	ready   ready
	isReady func(fd uintptr) bool
	// heard tells the door that something was read.
	heard func()
	// counted tells the door that the connection had to end.
	counted func()
}

// arriving is a stream. The mu of its connection guards it, except counted, since and at, which the mu of the account
// guards.
type arriving struct {
	conn *arrivingConn
	// spoken: it has had a message. Of the next one, head is what has arrived of its head, size is the size of its body,
	// left how much of that is still to come, and got what it has cost so far.
	spoken     bool
	head       []byte
	size, left int64
	got        int64

	counted int64
	since   time.Time
	at      *list.Element
}

// cost is the memory that the stream takes for a message that is arriving.
func (s *arriving) cost() int64 {
	if !s.spoken {
		return streamCost + s.got
	}
	return s.got
}

func newArrivingConn(conn, raw net.Conn, a *arrivals) *arrivingConn {
	c := &arrivingConn{
		Conn: conn, arrivals: a, streams: map[uint32]*arriving{}, busy: new(atomic.Int64), heard: func() {}, counted: func() {},
		reading: make(chan struct{}, ownReadAtOnce), walking: make(chan struct{}, ownWalksAtOnce),
	}
	c.in.skip, c.isReady = prefaceSize, c.ready.read
	if d, ok := raw.(*doorConn); ok {
		c.busy, c.heard = &d.busy, d.hear
		c.counted = func() { d.door.ended.Add(1) }
		d.door.tooLarge.Store(a.tooLarge)
	}
	if s, ok := conn.(syscall.Conn); ok && conn == raw {
		if rc, err := s.SyscallConn(); err == nil {
			c.raw = rc
		}
	}
	a.known(c)
	return c
}

// Read implements net.Conn.
func (c *arrivingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.came(p[:n])
	return n, err
}

// Write implements net.Conn.
func (c *arrivingConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.out.each(p, c.sends, c.sent)
	c.mu.Unlock()
	return c.Conn.Write(p)
}

// Close implements net.Conn. gRPC calls it once it has dropped what it had to write.
func (c *arrivingConn) Close() error {
	c.settle()
	c.mu.Lock()
	c.forsaken = true
	c.letGo()
	c.mu.Unlock()
	return c.Conn.Close()
}

// settle takes off the account what the connection has, except its answers, when it ends.
func (c *arrivingConn) settle() {
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return
	}
	c.dead = true
	c.left = c.unsent.Load()
	c.arrivals.inMemory.add(c.left)
	for id := range c.streams {
		c.drop(id)
	}
	c.answered(c.unsent.Load())
	c.wasRead(c.unread.Load())
	c.holds(-c.held.Load())
	c.mu.Unlock()
	c.arrivals.forgotten(c)
}

// begins and ends are called around a handler.
func (c *arrivingConn) begins() { c.calls.Add(1) }

func (c *arrivingConn) ends() {
	if c.calls.Add(-1) == 0 {
		c.mu.Lock()
		c.letGo()
		c.mu.Unlock()
	}
}

// letGo takes off the account the answers of a connection that has ended, once nothing refers to them. mu is held.
func (c *arrivingConn) letGo() {
	if c.forsaken && c.left > 0 && c.calls.Load() == 0 {
		c.arrivals.inMemory.add(-c.left)
		c.left = 0
	}
}

// came takes into account bytes that were read.
func (c *arrivingConn) came(p []byte) {
	if len(p) == 0 {
		return
	}
	c.mu.Lock()
	c.over = nil
	if !c.dead {
		c.in.each(p, c.receives, c.takes)
	}
	over := c.over
	c.mu.Unlock()
	if over != nil {
		c.arrivals.end(over)
	}
}

// receives looks at a frame from the client, at its head and at its end.
func (c *arrivingConn) receives(f *frames, end bool) {
	switch {
	case f.kind == frameHeaders && !end && c.streams[f.stream] == nil && f.stream > f.newest:
		f.newest = f.stream
		s := &arriving{conn: c}
		c.streams[f.stream] = s
		c.busy.Add(1)
		if over := c.arrivals.opened(c); over != nil {
			c.over = over
		}
		c.note(s)
	case f.kind == frameReset && end:
		c.drop(f.stream)
	}
	if end && (f.kind == frameHeaders || f.kind == frameData) && f.flags&flagEndStream != 0 {
		if s := c.streams[f.stream]; s != nil {
			// The client sends no more; the stream is open until the server has answered.
			s.spoken, s.got, s.left = true, 0, 0
			c.note(s)
		}
	}
}

// takes takes into account data of a stream.
func (c *arrivingConn) takes(f *frames, data []byte) {
	s := c.streams[f.stream]
	if s == nil || len(data) == 0 {
		return // the stream has ended: gRPC drops its data
	}
	s.got += frameCost
	for len(data) > 0 {
		if s.left > 0 {
			n := min(int64(len(data)), s.left)
			s.left, s.got, data = s.left-n, s.got+n, data[n:]
		} else {
			n := min(len(data), messageHead-len(s.head))
			s.head, s.got, data = append(s.head, data[:n]...), s.got+int64(n), data[n:]
			if len(s.head) < messageHead {
				break
			}
			s.left = int64(binary.BigEndian.Uint32(s.head[1:]))
			if s.size = s.left; s.size > maxRequestMessage {
				c.arrivals.tooLarge.message.Add(1) // gRPC refuses it, and tells nobody
			}
			s.head = s.head[:0]
			if s.left > 0 {
				continue
			}
		}
		if s.left == 0 { // a message is whole
			s.spoken, s.got = true, 0
			c.isWhole(s.size)
		}
	}
	c.note(s)
}

// sends looks at a frame from the server: it may end a stream.
func (c *arrivingConn) sends(f *frames, end bool) {
	if end && (f.kind == frameReset || (f.kind == frameHeaders || f.kind == frameData) && f.flags&flagEndStream != 0) {
		c.drop(f.stream)
	}
}

func (c *arrivingConn) note(s *arriving) {
	if over := c.arrivals.note(s); over != nil {
		c.over = over
	}
}

// drop forgets a stream that has ended.
func (c *arrivingConn) drop(id uint32) {
	s := c.streams[id]
	if s == nil {
		return
	}
	delete(c.streams, id)
	s.spoken, s.got = true, 0
	c.note(s)
	c.arrivals.closed(c)
	c.busy.Add(-1)
	if len(c.streams) == 0 {
		c.answered(c.unsent.Load())
		c.wasRead(c.unread.Load())
	}
}

// frames follows one direction of a connection.
type frames struct {
	// skip is how many bytes come before the next head; head is what has arrived of it.
	skip int
	head []byte
	// How much is left of the frame that passes, and how much of that is padding.
	left, padding int
	padded        bool
	kind, flags   byte
	stream        uint32
	// newest is the highest stream that was opened.
	newest uint32
}

// each goes through bytes that pass. It calls frame at the head and at the end of each frame, and data for parts of data
// frames.
func (f *frames) each(p []byte, frame func(f *frames, end bool), data func(f *frames, part []byte)) {
	n := min(f.skip, len(p))
	f.skip, p = f.skip-n, p[n:]
	for len(p) > 0 {
		if len(f.head) < frameHead {
			n := min(len(p), frameHead-len(f.head))
			f.head, p = append(f.head, p[:n]...), p[n:]
			if len(f.head) < frameHead {
				return
			}
			f.begin()
			frame(f, false)
		} else {
			n := min(len(p), f.left)
			f.pass(p[:n], data)
			p = p[n:]
		}
		if f.left == 0 {
			frame(f, true)
			f.head = f.head[:0]
		}
	}
}

// begin reads the head of a frame.
func (f *frames) begin() {
	f.left = int(f.head[0])<<16 | int(f.head[1])<<8 | int(f.head[2])
	f.kind, f.flags = f.head[3], f.head[4]
	f.stream = binary.BigEndian.Uint32(f.head[5:]) &^ (1 << 31)
	f.padding, f.padded = 0, f.kind == frameData && f.flags&flagPadded != 0 && f.left > 0
}

// pass takes a part of the body of the frame.
func (f *frames) pass(p []byte, data func(f *frames, part []byte)) {
	f.left -= len(p)
	if f.padded && len(p) > 0 {
		f.padding, f.padded, p = int(p[0]), false, p[1:]
	}
	if f.kind != frameData || data == nil {
		return
	}
	if extra := f.padding - f.left; extra > 0 { // the end of it is padding
		p = p[:max(0, len(p)-extra)]
	}
	data(f, p)
}

// ready is the result of a read that waits for data. It takes memory only when there is data: an idle connection needs
// none.
type ready struct {
	size int
	pool mem.BufferPool
	buf  *[]byte
	n    int
	err  error
}

// read is called when there is data, or none will come; false: there is none yet.
func (r *ready) read(fd uintptr) bool {
	r.buf = r.pool.Get(r.size)
	r.n, r.err = syscall.Read(int(fd), *r.buf)
	if r.err != nil {
		r.pool.Put(r.buf)
		r.buf = nil
	}
	return !errors.Is(r.err, syscall.EAGAIN)
}

// ReadOnReady reads into memory of a pool. gRPC, its only caller, looks for this method.
func (c *arrivingConn) ReadOnReady(size int, pool mem.BufferPool) (*[]byte, int, error) {
	if c.raw == nil {
		buf := pool.Get(size)
		n, err := c.Read(*buf)
		if n == 0 {
			pool.Put(buf)
			return nil, 0, err
		}
		return buf, n, err
	}
	c.ready.size, c.ready.pool = size, pool
	err := c.raw.Read(c.isReady)
	buf, n := c.ready.buf, c.ready.n
	err = cmp.Or(err, c.ready.err)
	c.ready = ready{}
	switch {
	case buf == nil:
		return nil, 0, err
	case n == 0 || err != nil:
		pool.Put(buf)
		return nil, 0, cmp.Or(err, io.EOF)
	}
	c.heard()
	c.came((*buf)[:n])
	return buf, n, nil
}
