package secure_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire/secure"
)

// echoes serves a port until the test ends: it sends back what it gets.
func echoes(t *testing.T, l net.Listener) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // it ends with the connection, which the test closes
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
}

// exchange sends some bytes over a connection and wants them back.
func exchange(t *testing.T, conn net.Conn) error {
	t.Helper()
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(deadline)))
	if _, err := conn.Write([]byte("hello")); err != nil {
		return err
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	require.Equal(t, "hello", string(got))
	return nil
}

func loopback(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// A port that accepts both serves everybody while a cluster changes to TLS. One that does not refuses plain text.
func TestAPortMayAcceptBoth(t *testing.T) {
	t.Parallel()
	ca := newCA(t, domain)
	server, client := open(t, files(t, ca, task.RoleServer, "n1")), open(t, files(t, ca, task.RoleServer, "n2"))
	accept := secure.Accept{Roles: []task.Role{task.RoleServer}}
	for _, plain := range []bool{true, false} {
		accept.Plain = plain
		l := loopback(t)
		both, err := server.Listener(l, accept)
		require.NoError(t, err)
		echoes(t, both)
		dial := func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
		}
		conn, err := client.DialEither(t.Context(), dial)
		require.NoError(t, err)
		require.NoError(t, exchange(t, conn))
		conn, err = dial(t.Context())
		require.NoError(t, err)
		if plain {
			require.NoError(t, exchange(t, conn))
		} else {
			require.Error(t, exchange(t, conn))
		}
	}
}

// A server that may still speak plain text is reached whatever it speaks, and one that refuses the certificate is not
// asked in plain text.
func TestAServerIsReachedWhateverItSpeaks(t *testing.T) {
	t.Parallel()
	ca := newCA(t, domain)
	client := open(t, files(t, ca, task.RoleServer, "n2"))
	l := loopback(t)
	echoes(t, l)
	closes := loopback(t)
	go func() {
		for {
			conn, err := closes.Accept()
			if err != nil {
				return
			}
			first := make([]byte, 1)
			if _, err := io.ReadFull(conn, first); err == nil && first[0] == 'h' {
				_, _ = conn.Write([]byte("hello"))
			}
			_ = conn.Close()
		}
	}()
	for _, addr := range []string{l.Addr().String(), closes.Addr().String()} {
		conn, err := client.DialEither(t.Context(), func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", addr) })
		require.NoError(t, err)
		require.NoError(t, exchange(t, conn))
	}

	other := open(t, files(t, newCA(t, domain), task.RoleServer, "n1"))
	secured := loopback(t)
	strict, err := other.Listener(secured, secure.Accept{Roles: []task.Role{task.RoleServer}})
	require.NoError(t, err)
	echoes(t, strict)
	dials := 0
	_, err = client.DialEither(t.Context(), func(ctx context.Context) (net.Conn, error) {
		dials++
		return new(net.Dialer).DialContext(ctx, "tcp", secured.Addr().String())
	})
	require.ErrorIs(t, err, &secure.Error{Reason: secure.ReasonUnknownCA})
	require.Equal(t, 1, dials)
}
