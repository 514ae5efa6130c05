package leader

import (
	"context"
	"slices"
	"time"

	"github.com/rota-scheduler/rota/wire"
)

// A name that was given may stand for several servers, and for others tomorrow. The addresses of a name take its
// place among the servers that are known: whoever dials a name tries one address after the other, and may wait long for
// the first that does not answer. They are looked up when the watch begins, and again when no known server
// answers. While one answers, it tells which servers there are.

// lookupWait bounds how long a call waits for the first lookup, to name the addresses of its servers.
const lookupWait = 2 * time.Second

// hasNames says whether names among the given servers can be looked up.
func (f *Finder) hasNames() bool {
	return f.cfg.Lookup != nil && slices.ContainsFunc(f.cfg.Addrs, wire.IsName)
}

// lookUp puts the addresses that the given names have now into their place. If a name has none, what was known stays.
func (f *Finder) lookUp(ctx context.Context) {
	if !f.hasNames() {
		return
	}
	addrs, err := f.cfg.Lookup(ctx, f.cfg.Addrs)
	if err != nil {
		f.cfg.Logger.Debug("a name could not be looked up", "error", err)
	}
	f.lookedUp.Do(func() { close(f.looked) })
	if len(addrs) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	given := f.turned(addrs)
	if slices.Equal(given, f.given) {
		return
	}
	f.cfg.Logger.Debug("the servers that were given have these addresses now", "addrs", given)
	others := slices.DeleteFunc(slices.Clone(f.known), func(addr string) bool { return slices.Contains(f.given, addr) })
	f.given, f.known = given, slices.Clone(given)
	for _, addr := range others {
		f.learn(addr)
	}
}

// turned is a list without what is repeated, from one on that this Finder has drawn: those who have the same list must
// not all begin with the same server.
func (f *Finder) turned(addrs []string) (out []string) {
	for _, addr := range addrs {
		if !slices.Contains(out, addr) {
			out = append(out, addr)
		}
	}
	if len(out) > 0 {
		k := int(f.draw % uint32(len(out)))
		out = slices.Concat(out[k:], out[:k])
	}
	return out
}

// Given is the servers that were given, with the addresses of names in their place as far as they are known.
func (f *Finder) Given() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.given)
}

// awaitLookup waits until names were looked up once, or could be.
func (f *Finder) awaitLookup(ctx context.Context) {
	if !f.hasNames() {
		return
	}
	t := time.NewTimer(lookupWait)
	defer t.Stop()
	select {
	case <-f.looked:
	case <-t.C:
	case <-ctx.Done():
	}
}
