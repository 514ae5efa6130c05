package cluster

import (
	"context"
	"time"

	"github.com/rota-scheduler/rota/fsm"
)

// Servers of two builds: one knows the versions of the log that clusters begin with, the other one what this build
// knows. If both are the same, nothing is upgraded: the tag rotanext makes a build that knows one version more.

// oldest is the version that clusters begin with.
const oldest uint32 = fsm.GateVersion

// upgrades says whether there is a newer version that clusters can rise to.
func upgrades() bool { return fsm.Version > oldest }

// oldBuild makes all servers begin as the older build.
func (r *Run) oldBuild() {
	for _, s := range r.c.Servers {
		s.Install(oldest)
	}
}

// risen says whether any server knows that the active version has risen.
func (r *Run) risen() bool {
	for _, s := range r.c.Servers {
		if n := s.Node(); n != nil && n.State().Machine().ActiveVersion() > oldest {
			return true
		}
	}
	return false
}

// replace ends a server, in good order or not, and starts it as the newer build; or, now and then, as the older one
// again, which it can be until the version has risen.
func (x *nemesis) replace() {
	s := x.some(x.r.c.Servers)
	if x.random.IntN(2) == 0 {
		ctx, cancel := context.WithTimeout(x.r.ctx, 30*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			x.r.history.problem("stop %s: %v", s.Name, err)
		}
	} else if err := s.Crash(); err != nil {
		x.r.history.problem("crash %s: %v", s.Name, err)
	}
	x.wait(time.Millisecond, time.Second)
	knows := uint32(fsm.Version)
	if x.random.IntN(4) == 0 && !x.r.risen() {
		knows = oldest
	}
	s.Install(knows)
	if err := s.Start(); err != nil {
		x.r.history.problem("%v", err)
	}
	x.r.history.count(func(c *Counts) { c.Replaced++ })
}

// upgradeAll replaces what is left of the older build: then the version has to rise.
func (r *Run) upgradeAll() {
	for _, s := range r.c.Servers {
		if knows, _ := s.Build(); knows == fsm.Version {
			continue
		}
		if err := s.Crash(); err != nil {
			r.history.problem("crash %s: %v", s.Name, err)
		}
		s.Install(fsm.Version)
		if err := s.Start(); err != nil {
			r.history.problem("%v", err)
		}
	}
}

// riseTime bounds the time from a server's answer to the rise. An operator who goes back in that moment is
// too late, and the server says so.
const riseTime = 5 * time.Second

// checkVersion notes the active version of a server at an index. A version does not rise before all know it.
func (r *Run) checkVersion(server string, index uint64, active uint32) {
	r.history.version(server, index, active)
	for _, s := range r.c.Servers {
		if knows, since := s.Build(); active > knows && time.Since(since) > riseTime {
			r.history.problem("%s is at version %d of the log, and %s knows %d", server, active, s.Name, knows)
		}
	}
}

// versionSeen is where a version was seen.
type versionSeen struct {
	first, last   uint64 // indexes
	before, after string // servers
}

// version notes the active version of a server at an index: it is the same everywhere, and never falls.
func (h *History) version(server string, index uint64, active uint32) {
	if index == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	seen, known := h.versions[active]
	if !known {
		seen = versionSeen{first: index, last: index, before: server, after: server}
		if active > oldest {
			h.Counts.Rises++
		}
	}
	if index < seen.first {
		seen.first, seen.before = index, server
	}
	if index > seen.last {
		seen.last, seen.after = index, server
	}
	h.versions[active] = seen
	for other, at := range h.versions {
		if other < active && at.last >= seen.first {
			h.problemLocked("%s has version %d of the log at index %d, and %s has version %d at index %d", at.after, other, at.last, seen.before, active, seen.first)
		}
		if other > active && at.first <= seen.last {
			h.problemLocked("%s has version %d of the log at index %d, and %s has version %d at index %d", at.before, other, at.first, seen.after, active, seen.last)
		}
	}
}
