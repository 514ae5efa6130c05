package web

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// recentContact is how long a follower may not have heard from its leader and still
// be ready. It is well above an election, so that a failover that goes well does not
// take every server out of a load balancer at once.
const recentContact = 2 * time.Second

// check is something that must hold for a server to be ready.
type check struct {
	name string
	// ok is what there is, for people. wrong is why the check fails; "": it holds.
	ok, wrong string
}

// checks returns what must hold for this server to get requests, in the order in which a server comes to it. Where one fails,
// those behind it may mean nothing: the first that fails is the reason.
func (s *Server) checks() []check {
	self, leader := s.cfg.Node.Self(), s.cfg.Node.Leader()
	term, leads := s.cfg.Node.Ready()
	if leads {
		return []check{s.runs(), {name: "leader", ok: fmt.Sprintf("this server leads in term %d", term)}}
	}
	follows := "leader " + leader.NodeID
	out := []check{s.runs(), {name: "cluster", ok: "part of a cluster"}, {name: "leader", ok: follows}, {name: "state", ok: "of cluster " + self.ClusterID},
		{name: "contact", ok: fmt.Sprintf("%s was heard %v ago", follows, self.LastContact.Round(time.Millisecond))}, {name: "address", ok: follows + " is at " + leader.Addr},
		{name: "caught-up", ok: fmt.Sprintf("the state is at index %d", self.AppliedIndex)}}
	fail := func(i int, failed bool, format string, args ...any) {
		if failed {
			out[i].wrong = fmt.Sprintf(format, args...)
		}
	}
	fail(1, !self.Initialized, "the server is not part of a cluster yet")
	switch leader.NodeID {
	case "":
		fail(2, true, "no leader is known")
	case self.NodeID:
		fail(2, true, "the server leads and is not ready yet")
	}
	fail(3, self.ClusterID == "", "the state of the cluster has not arrived yet")
	fail(4, self.LastContact > recentContact, "nothing was heard from leader %s for %v", leader.NodeID, self.LastContact.Round(time.Millisecond))
	fail(5, leader.Addr == "", "the address of leader %s is not known yet", leader.NodeID)
	fail(6, !s.cfg.Node.CaughtUp(), "it is behind leader %s: the state is at index %d", leader.NodeID, self.AppliedIndex)
	return out
}

// runs is the check that the server is not about to end.
func (s *Server) runs() check {
	c := check{name: "running", ok: "not shutting down"}
	if s.stopping.Load() {
		c.wrong = "the server is shutting down"
	}
	return c
}

// reasonNotReady says why this server should get no requests; "": it should.
func (s *Server) reasonNotReady() string {
	for _, c := range s.checks() {
		if c.wrong != "" {
			return c.wrong
		}
	}
	return ""
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	checks := s.checks()
	code, text := http.StatusOK, "ok"
	for _, c := range checks {
		if c.wrong != "" {
			code, text = http.StatusServiceUnavailable, c.wrong
			break
		}
	}
	if r.URL.Query().Has("verbose") {
		text = s.verbose(checks, text)
	}
	plain(w, code, text)
}

// verbose lists all checks, and what keeps no server from serving but people should know. Behind a check that fails, those
// that follow are not shown: they would tell of what cannot be known yet.
func (s *Server) verbose(checks []check, result string) string {
	var b strings.Builder
	for _, c := range checks {
		if c.wrong != "" {
			fmt.Fprintf(&b, "[-] %s: %s\n", c.name, c.wrong)
			break
		}
		fmt.Fprintf(&b, "[+] %s: %s\n", c.name, c.ok)
	}
	measured, self := s.cfg.Node.Measure(), s.cfg.Node.Self()
	if measured.DiskFull {
		fmt.Fprintf(&b, "[!] disk: full, or nearly: %d bytes are left; new jobs are refused\n", measured.DiskFree)
	}
	if self.Problem != "" {
		fmt.Fprintf(&b, "[!] problem: %s\n", strings.Join(strings.Fields(self.Problem), " "))
	}
	for _, peer := range slices.Sorted(maps.Keys(measured.Silent)) {
		if silent := measured.Silent[peer]; silent > recentContact {
			fmt.Fprintf(&b, "[!] peer %s: no answer for %v\n", peer, silent.Round(time.Second))
		}
	}
	fmt.Fprintf(&b, "node %s, %s, term %d, applied index %d: %s", self.NodeID, self.State, self.Term, self.AppliedIndex, result)
	return b.String()
}
