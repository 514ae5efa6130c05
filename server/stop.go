package server

import (
	"context"
	"errors"
	"time"
)

const (
	// drainTimeout is how long requests that are under way may take once the server is asked to end. Clients send those that
	// are cut off to another server.
	drainTimeout = 2 * time.Second
	// handlerTimeout is how long a server waits for handlers whose connections are cut off. They end at once,
	// or within transport's second for a peer that does not read, unless a disk hangs.
	handlerTimeout = 5 * time.Second
	// shutdownTimeout bounds the handing over of leadership, and the end of the node.
	shutdownTimeout = 10 * time.Second
)

// Stop ends the server: it is not ready any more, leadership goes to another server, and calls that are under way finish.
func (s *Server) Stop(ctx context.Context) error {
	s.web.Stopping()
	// First, so that clients that leave find the next leader in its place.
	if _, leads := s.node.Ready(); leads {
		if err := s.node.TransferLeadership(ctx, ""); err != nil {
			s.log.Debug("leadership was not handed over before the end of the streams", "error", err)
		}
	}
	s.transport.Stop()
	if !closes(s.ended(s.grpc.GracefulStop), drainTimeout) {
		s.log.Info("some requests did not end in time and are cut off")
		s.cutOff()
	}
	bounded, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	err := errors.Join(s.node.Shutdown(bounded), s.peers.Close(), s.stopHTTP(ctx))
	s.stopTelling()
	s.running.Wait()
	s.lines.Close()
	s.log.Info("ended")
	return err
}

// Kill ends the server as a crash would, except that the operating system keeps what was written: connections break without
// a message, nothing is handed over and nothing finishes. It is for tests.
func (s *Server) Kill() error {
	err := s.http.Close()
	_ = s.ports.grpc.Close() // otherwise new connections come while the old ones are cut off
	s.ports.grpc.CloseAll()
	s.transport.Stop()
	s.cutOff()
	err = errors.Join(err, s.node.Kill(), s.peers.Close())
	s.stopTelling()
	s.running.Wait()
	s.lines.Close()
	return err
}

// abandon ends a server that was not served yet.
func (s *Server) abandon() error {
	s.transport.Stop()
	s.ports.close()
	s.lines.Close()
	return errors.Join(s.node.Kill(), s.peers.Close())
}

// cutOff ends all gRPC connections and waits for the handlers.
func (s *Server) cutOff() {
	s.ports.grpc.CloseAll()
	if !closes(s.ended(s.grpc.Stop), handlerTimeout) {
		s.log.Warn("some requests did not end though their connections are cut off; this server ends without them")
	}
}

// ended is closed once stop has ended the gRPC server, and nothing is left of its handlers.
func (s *Server) ended(stop func()) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		stop()
		<-s.grpcServed
		s.transport.Wait()
	}()
	return ended
}

// closes waits until c is closed, but not longer than limit.
func closes(c <-chan struct{}, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-c:
		return true
	case <-timer.C:
		return false
	}
}

// stopHTTP comes last, so that /readyz says until the end that this server stops. It does not wait for requests that clients
// have not finished by then.
func (s *Server) stopHTTP(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return s.http.Close()
	}
	return err
}
