package network

import (
	"context"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pair is two hosts, of which the second one sends back what it gets.
func pair(t *testing.T) (s *Switch, a, b *Host) {
	t.Helper()
	if err := Available(); err != nil {
		t.Skip("no hosts of their own here:", err)
	}
	s = NewSwitch(1)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	var err error
	a, err = s.AddHost(netip.MustParseAddr("127.9.0.1"))
	require.NoError(t, err)
	b, err = s.AddHost(netip.MustParseAddr("127.9.0.2"))
	require.NoError(t, err)
	var l net.Listener
	require.NoError(t, b.Do(func() error {
		l, err = net.Listen("tcp4", "127.9.0.2:7")
		return err
	}))
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c) }()
		}
	}()
	return s, a, b
}

// echo sends a byte and waits for it.
func echo(c net.Conn, within time.Duration) error {
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	if _, err := c.Write([]byte{1}); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

func dial(t *testing.T, h *Host) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := h.Dial(ctx, "127.9.0.2:7")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func TestACutStopsPacketsAndAHealLetsThemOn(t *testing.T) {
	t.Parallel()
	s, a, b := pair(t)
	c := dial(t, a)
	require.NoError(t, echo(c, 5*time.Second))
	for _, way := range [][2]netip.Addr{{a.Addr, b.Addr}, {b.Addr, a.Addr}} {
		s.Set(way[0], way[1], Link{Cut: true})
		require.Error(t, echo(c, 300*time.Millisecond))
		require.Positive(t, s.Heal())
		// The kernel sends again what was cut off, so the byte from before comes too.
		require.NoError(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
		_, err := io.ReadFull(c, make([]byte, 1))
		require.NoError(t, err)
		require.NoError(t, echo(c, 5*time.Second))
	}
}

func TestADelayedAndLossyLinkLosesNothingOfAStream(t *testing.T) {
	t.Parallel()
	s, a, b := pair(t)
	c := dial(t, a)
	s.Set(a.Addr, b.Addr, Link{Loss: 0.1, Duplicate: 0.2, Delay: 2 * time.Millisecond, Jitter: 5 * time.Millisecond})
	began := time.Now()
	for range 5 {
		require.NoError(t, echo(c, 20*time.Second))
	}
	require.GreaterOrEqual(t, time.Since(began), 10*time.Millisecond)
	require.Positive(t, s.Heal())
}

func TestWhatAHostListensOnIsNotReachedFromThisMachine(t *testing.T) {
	t.Parallel()
	pair(t)
	_, err := net.DialTimeout("tcp4", "127.9.0.2:7", time.Second)
	require.Error(t, err)
}

func TestAResetEndsTheConnectionOnBothSides(t *testing.T) {
	t.Parallel()
	s, a, b := pair(t)
	c := dial(t, a)
	require.NoError(t, echo(c, 5*time.Second))
	var ended net.Listener
	require.NoError(t, b.Do(func() (err error) {
		ended, err = net.Listen("tcp4", "127.9.0.2:8")
		return err
	}))
	t.Cleanup(func() { require.NoError(t, ended.Close()) })
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	near, err := a.Dial(ctx, "127.9.0.2:8")
	require.NoError(t, err)
	far, err := ended.Accept()
	require.NoError(t, err)
	require.NoError(t, near.SetDeadline(time.Now().Add(10*time.Second)))
	require.NoError(t, far.SetDeadline(time.Now().Add(10*time.Second)))

	s.Set(a.Addr, b.Addr, Link{Reset: 1})
	_, err = near.Write([]byte{1})
	require.NoError(t, err)
	for _, side := range []net.Conn{near, far} {
		_, err = side.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		require.NoError(t, side.Close())
	}
	_, err = a.Dial(ctx, "127.9.0.2:8")
	require.ErrorIs(t, err, syscall.ECONNREFUSED, "a new one is not let through either")
	require.Positive(t, s.Heal())
	require.NoError(t, echo(c, 5*time.Second), "one that was idle meanwhile knows nothing of it")
}

func TestASlowLinkPassesWhatItsRateAllows(t *testing.T) {
	t.Parallel()
	s, a, b := pair(t)
	c := dial(t, a)
	require.NoError(t, c.SetDeadline(time.Now().Add(30*time.Second)))
	const rate, size = 256 << 10, 128 << 10
	s.Set(a.Addr, b.Addr, Link{Rate: rate})
	began := time.Now()
	_, err := c.Write(make([]byte, size))
	require.NoError(t, err)
	_, err = io.ReadFull(c, make([]byte, size))
	require.NoError(t, err)
	require.Greater(t, time.Since(began), time.Second*size/rate*8/10)
	require.Positive(t, s.Heal())
}
