package wire

import (
	"encoding/binary"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// wired is a connection without a network: what a client has sent is read in parts.
type wired struct {
	net.Conn
	closed atomic.Bool
}

func (c *wired) Close() error                { c.closed.Store(true); return nil }
func (c *wired) Write(p []byte) (int, error) { return len(p), nil }

// arrivalsBundle is an account, and connections of it.
type arrivalsBundle struct {
	*arrivals
	t *testing.T
}

func (b *arrivalsBundle) conn() *arrivingConn {
	c := newArrivingConn(&wired{}, &wired{}, b.arrivals)
	c.came([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	return c
}

func newArrivalsBundle(t *testing.T) *arrivalsBundle { return &arrivalsBundle{newArrivals(), t} }

func frame(kind, flags byte, stream uint32, body ...byte) []byte {
	head := []byte{byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body)), kind, flags}
	return append(binary.BigEndian.AppendUint32(head, stream), body...)
}

// message is the beginning of a message of a size: so many bytes of its body.
func message(size, sent int) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(size)), make([]byte, sent)...)
}

func (b *arrivalsBundle) held() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	sum := int64(0)
	for e := b.waiting.Front(); e != nil; e = e.Next() {
		sum += e.Value.(*arriving).counted
	}
	require.Equal(b.t, sum, b.bytes)
	return b.bytes
}

func TestOnlyWhatHasBegunToComeCounts(t *testing.T) {
	t.Parallel()
	b := newArrivalsBundle(t)
	// Whatever the parts in which it is read.
	steps := []struct {
		what string
		sent []byte
		held int64
	}{
		{"settings", frame(4, 0, 0, make([]byte, 6)...), 0},
		{"a call without a request", frame(frameHeaders, 4, 1, 1, 2, 3), streamCost},
		{"half of a request", frame(frameData, 0, 1, message(100, 50)...), streamCost + frameCost + messageHead + 50},
		{"padding", frame(frameData, flagPadded, 1, append([]byte{9}, make([]byte, 20+9)...)...), streamCost + 2*frameCost + messageHead + 70},
		{"the rest", frame(frameData, 0, 1, make([]byte, 30)...), 0},
		{"two messages and a part of the head of another", frame(frameData, 0, 1, append(append(message(0, 0), message(7, 7)...), 0, 0)...), 2},
		{"another call", frame(frameHeaders, 4, 3, 1), 2 + streamCost},
		{"its end", frame(frameReset, 0, 3, 0, 0, 0, 1), 2},
		{"what comes for it nevertheless", frame(frameData, 0, 3, message(100, 50)...), 2},
		{"trailers of a call that never was", frame(frameHeaders, 4, 3, 1), 2},
		{"a third one, which ends", frame(frameHeaders, 4|flagEndStream, 5, 1), 2},
	}
	for _, size := range []int{1, 2, 5, 9, 1000} {
		c := b.conn()
		for _, s := range steps {
			for rest := s.sent; len(rest) > 0; {
				n := min(size, len(rest))
				c.came(rest[:n])
				rest = rest[n:]
			}
			if size == 1000 {
				require.Equal(t, s.held, b.held(), s.what)
			}
		}
		require.EqualValues(t, 2, c.open.Load(), "in parts of %d bytes", size)
		_, err := c.Write(frame(frameHeaders, 4|flagEndStream, 1, 1))
		require.NoError(t, err)
		require.Zero(t, b.held(), "in parts of %d bytes", size)
		require.EqualValues(t, 1, c.open.Load())
		require.NoError(t, c.Close())
		require.Zero(t, b.streams.Load())
	}
}

func TestWhatTakesTooLongEndsItsConnection(t *testing.T) {
	t.Parallel()
	for name, sent := range map[string][]byte{
		"a request": frame(frameData, 0, 1, message(100, 99)...),
		"nothing":   nil,
		"a message behind others, as of a session": frame(frameData, 0, 1, append(message(1, 1), message(100, 99)...)...),
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newArrivalsBundle(t)
			slow, idle := b.conn(), b.conn()
			slow.came(frame(frameHeaders, 4, 1, 1))
			slow.came(sent)
			idle.came(frame(frameHeaders, 4, 1, 1))
			idle.came(frame(frameData, 0, 1, message(1, 1)...))
			time.Sleep(arrivalTimeout - time.Second)
			require.False(t, slow.Conn.(*wired).closed.Load(), name)
			time.Sleep(2 * time.Second)
			synctest.Wait()
			require.True(t, slow.Conn.(*wired).closed.Load(), name)
			require.False(t, idle.Conn.(*wired).closed.Load(), name)
			require.Zero(t, b.held())
			require.EqualValues(t, 1, b.ended.Load())
		})
	}
}

func TestTheOldestGoesWhereTooMuchIsOnItsWay(t *testing.T) {
	t.Parallel()
	b := newArrivalsBundle(t)
	b.most = 3 * streamCost
	var all []*arrivingConn
	for range 4 {
		c := b.conn()
		c.came(frame(frameHeaders, 4, 1, 1))
		all = append(all, c)
	}
	for i, c := range all {
		require.Equal(t, i == 0, c.Conn.(*wired).closed.Load(), i)
	}
	require.EqualValues(t, 3*streamCost, b.held())
}

func TestTheConnectionWithMostStreamsGoesWhereThereAreTooMany(t *testing.T) {
	t.Parallel()
	b := newArrivalsBundle(t)
	b.mostStreams = 4
	polite, greedy := b.conn(), b.conn()
	polite.came(frame(frameHeaders, 4|flagEndStream, 1, 1))
	for i := range uint32(4) {
		greedy.came(frame(frameHeaders, 4|flagEndStream, 2*i+1, 1))
	}
	require.True(t, greedy.Conn.(*wired).closed.Load())
	require.False(t, polite.Conn.(*wired).closed.Load())
	require.EqualValues(t, 1, b.streams.Load())
}

// Calls cost tens of KiB each, whatever they do. A dozen connections with as many as each may open stay below the
// bound of all streams, and are still too many.
func TestTheConnectionWithMostCallsGoesWhereTheyAreACrowd(t *testing.T) {
	t.Parallel()
	b := newArrivalsBundle(t)
	b.mostCrowd = 3
	call := func(c *arrivingConn, i int) { c.came(frame(frameHeaders, 4|flagEndStream, uint32(2*i+1), 1)) }
	var polite []*arrivingConn
	for range 8 {
		c := b.conn()
		for i := range fewStreams {
			call(c, i)
		}
		polite = append(polite, c)
	}
	require.Zero(t, b.crowd.Load(), "as many as a worker or a modest client has")
	greedy := b.conn()
	for i := range fewStreams + 3 {
		call(greedy, i)
	}
	_, err := greedy.Write(frame(frameHeaders, flagEndStream, 1, 1))
	require.NoError(t, err)
	require.EqualValues(t, 2, b.crowd.Load())
	call(greedy, fewStreams+3)
	require.False(t, greedy.Conn.(*wired).closed.Load())
	call(polite[0], fewStreams)
	require.True(t, greedy.Conn.(*wired).closed.Load())
	for _, c := range polite {
		require.False(t, c.Conn.(*wired).closed.Load())
	}
	require.EqualValues(t, 1, b.crowd.Load())
	require.NoError(t, polite[0].Close())
	require.Zero(t, b.crowd.Load())
	require.EqualValues(t, 7*fewStreams, b.streams.Load())
}

func TestTheConnectionThatReadsLeastGoesWhereTooMuchIsUnsent(t *testing.T) {
	t.Parallel()
	b := newArrivalsBundle(t)
	b.mostUnsent = 100
	reads, never := b.conn(), b.conn()
	for _, c := range []*arrivingConn{reads, never} {
		c.came(frame(frameHeaders, 4|flagEndStream, 1, 1))
		c.came(frame(frameHeaders, 4|flagEndStream, 3, 1))
	}
	for range 10 {
		reads.answering(45)
		_, err := reads.Write(frame(frameData, 0, 1, make([]byte, 45)...))
		require.NoError(t, err)
	}
	require.Zero(t, b.unsent.Load())
	never.answering(70)
	reads.answering(30)
	require.EqualValues(t, 100, b.unsent.Load())
	reads.answering(30)
	require.True(t, never.Conn.(*wired).closed.Load())
	require.False(t, reads.Conn.(*wired).closed.Load())
	require.EqualValues(t, 60, b.unsent.Load())
	never.answering(1000)
	require.EqualValues(t, 60, b.unsent.Load(), "what comes behind the end counts no more")
	// With nothing under way, nothing waits.
	for _, stream := range []uint32{1, 3} {
		reads.came(frame(frameReset, 0, stream, 0, 0, 0, 8))
	}
	require.Zero(t, b.unsent.Load())
}

func TestTheConnectionOfWhichLeastIsReadGoesWhereTooMuchWaits(t *testing.T) {
	t.Parallel()
	b := newArrivalsBundle(t)
	b.mostUnread = 100
	reads, never := b.conn(), b.conn()
	for _, c := range []*arrivingConn{reads, never} {
		c.came(frame(frameHeaders, 4, 1, 1))
	}
	for range 10 {
		reads.came(frame(frameData, 0, 1, message(40, 40)...))
		reads.hasRead(40)
	}
	require.Zero(t, b.unread.Load())
	never.came(frame(frameData, 0, 1, message(70, 70)...))
	reads.came(frame(frameData, 0, 1, message(30, 30)...))
	require.EqualValues(t, 100, b.unread.Load())
	reads.came(frame(frameData, 0, 1, message(1, 1)...))
	require.True(t, never.Conn.(*wired).closed.Load())
	require.False(t, reads.Conn.(*wired).closed.Load())
	require.EqualValues(t, 31, b.unread.Load())
	reads.came(frame(frameReset, 0, 1, 0, 0, 0, 8))
	require.Zero(t, b.unread.Load(), "with nothing under way, nothing waits")
}
