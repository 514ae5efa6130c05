package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/rota-scheduler/rota/web"
)

// profileHeaderTimeout bounds the wait for the head of a request.
const profileHeaderTimeout = 5 * time.Second

// serveProfiles serves profiles of this process on an address until stop is called.
func serveProfiles(addr string, log *slog.Logger) (stop func(), err error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("serve profiles: %w", err)
	}
	mux := http.NewServeMux()
	web.HandleProfiles(mux)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: profileHeaderTimeout}
	go func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Warn("profiles are not served any more", "error", err)
		}
	}()
	log.Info("profiles are served", "profiles", l.Addr().String())
	return func() { _ = s.Close() }, nil
}
