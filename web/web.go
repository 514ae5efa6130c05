package web

import (
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/transport"
	"github.com/rota-scheduler/rota/transport/access"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/wire/secure"
)

// maxScrapes bounds the answers to /metrics that are made at once; others get a 503.
// Each looks at the counters of the whole state, and few programs collect them.
const maxScrapes = 4

// Node is what this package asks of a server.
type Node interface {
	Self() node.PeerInfo
	// Ready says whether the server leads and serves, and in which term.
	Ready() (term uint64, ok bool)
	Leader() node.Leader
	// CaughtUp says whether the server has had, since its start, all that a leader had.
	CaughtUp() bool
	Measure() node.Measures
	// Now is the state machine's time, Unix ns.
	Now() int64
	State() *store.State
}

// Config is what a Server is made of.
type Config struct {
	Node   Node
	Logger *slog.Logger
	// Version is this build's.
	Version string
	// Requests is what was measured of the requests of clients and workers since the start; nil: nothing.
	Requests func() transport.Measures
	// Turned is which connections were turned away since the start, by port; nil: none.
	Turned func() map[string]wire.Turned
	// TooLarge is how many requests were refused for their size since the start, by reason; nil: none.
	TooLarge func() map[string]int64
	// Denials is the calls and HTTP requests that were refused since the start; nil: none.
	Denials func() map[access.Counted]int64
	// Certificates says when those of this server expire; nil: it has none.
	Certificates func() []secure.Expiry
	// Profiles serves profiles of this process below /debug/pprof/. They tell more about the
	// machine than readers of the metrics should know.
	Profiles bool
	// Guard decides who may ask for what; nil: nobody is asked.
	Guard *access.Guard
}

// Route is a route and the right that it needs.
type Route struct {
	Pattern string
	Right   task.Right
	handler http.Handler
}

// Server answers HTTP requests about one node.
type Server struct {
	cfg      Config
	mux      *http.ServeMux
	routes   []Route
	stopping atomic.Bool
}

// New returns a server for a node.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, mux: http.NewServeMux()}
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newCollector(cfg, s.reasonNotReady),
	)
	s.routes = []Route{
		// Probes cannot show certificates.
		{"GET /livez", task.RightAnybody, http.HandlerFunc(s.livez)},
		{"GET /readyz", task.RightAnybody, http.HandlerFunc(s.readyz)},
		// Errors are not logged: the caller gets them, and a caller that breaks off again and again must not fill the disk.
		{"GET /metrics", task.RightRead, promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes})},
	}
	if cfg.Profiles {
		profiles := http.NewServeMux()
		HandleProfiles(profiles)
		s.routes = append(s.routes, Route{"GET /debug/pprof/", task.RightAdmin, profiles})
	}
	for _, r := range s.routes {
		s.mux.Handle(r.Pattern, cfg.Guard.HTTP(r.Right, r.handler))
	}
	return s
}

// Routes returns all routes.
func (s *Server) Routes() []Route { return s.routes }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Stopping makes the server not ready, for good: it is about to shut down.
func (s *Server) Stopping() { s.stopping.Store(true) }

func (s *Server) livez(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") }

func plain(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	fmt.Fprintln(w, text)
}
