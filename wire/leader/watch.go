package leader

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/internal/ticks"
)

const (
	// watchLeaderFor is how long the leader itself is watched, where no other server
	// answered, before the others are tried again.
	watchLeaderFor = 30 * time.Second
	// askLeaderPause is about how long it takes until a leader that has answered is asked again which
	// servers there are. Thousands of workers may ask, and servers are replaced rarely.
	askLeaderPause = time.Minute
	// behindFor is how long the watched server may not know the term of the follower's leader. Servers
	// hear of a new leader within milliseconds.
	behindFor = time.Second
)

var (
	// errMoved ends a watch at a server that leads now.
	errMoved = errors.New("the watched server became leader")
	// errDoubtful ends a watch that told of a lower term than is known, or of one far ahead, while too few
	// servers said how far they are. The next one tells of it again: this one may say nothing more.
	errDoubtful = errors.New("it is not known whether there is a leader of the highest term")
	// errBehind ends a watch at a server that knows of no leader in the follower's term. Either the server is
	// cut off, or there is no such leader: what the next server announces first decides.
	errBehind = errors.New("the watched server does not know of a leader in the highest term")
)

// Watch keeps a stream to some server that tells of every new leader, until ctx ends. It prefers a
// server that does not lead: the one that tells of a leader's end should not end with it.
func (f *Finder) Watch(ctx context.Context) {
	var back Backoff
	last, failures := "", 0
	askLeaderAt := time.Now()
	f.lookUp(ctx)
	for ctx.Err() == nil {
		if failures >= len(f.Known()) {
			f.lookUp(ctx)
		}
		// Where all others have failed, or there are none, the leader has to do.
		alone := failures >= len(f.Known())-1
		if alone && !f.cfg.WatchLeader && !time.Now().Before(askLeaderAt) {
			askLeaderAt = time.Now().Add(f.askLeader(ctx))
		}
		leaderToo := alone && f.cfg.WatchLeader
		addr := f.watchable(last, leaderToo)
		if addr == "" {
			// There is one server as far as is known. A new leader may know of others.
			if f.awaitMove(ctx, time.Until(askLeaderAt)) {
				askLeaderAt = time.Now()
			}
			continue
		}
		told, err := f.watch(ctx, addr, leaderToo)
		last = addr
		if ctx.Err() != nil {
			return
		}
		f.cfg.Logger.Debug("the watch for the leader ended", "addr", addr, "error", err)
		moved := errors.Is(err, errMoved)
		if told || moved {
			back.Reset()
			failures = 0
		}
		if !moved {
			failures++
		}
		if errors.Is(err, errDoubtful) && !ticks.Sleep(ctx, termPause) || !ticks.Sleep(ctx, back.Next()) {
			return
		}
	}
}

// askLeader asks the leader which servers there are, and returns how long not to ask again. One that
// nobody watches would tell of no other server, and its end would leave the follower with none.
func (f *Finder) askLeader(ctx context.Context) (pause time.Duration) {
	leader := f.follower.Leader()
	if leader == "" {
		return 0 // the watch asks
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	m := f.askOne(ctx, leader)
	if m == nil {
		f.lookUp(ctx)
		return BackoffMost
	}
	f.Named(m.GetServers())
	// Those who lost a leader together must not ask the next one together.
	return askLeaderPause/2 + rand.N(askLeaderPause/2)
}

// awaitMove waits until the follower has another leader, for d at most. moved is false where it has not.
func (f *Finder) awaitMove(ctx context.Context, d time.Duration) (moved bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-f.moved:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

// watchable is a server to watch the leader from: the next one behind after, and not the leader
// unless that may be taken. "": there is none.
func (f *Finder) watchable(after string, leaderToo bool) string {
	leader, known := f.follower.Leader(), f.Known()
	start := slices.Index(known, after) + 1
	for i := range known {
		if addr := known[(start+i)%len(known)]; leaderToo || addr != leader {
			return addr
		}
	}
	return ""
}

// watch follows the announcements of one server until they end, or until that server leads and need
// not be watched for that. told says that there was an announcement.
func (f *Finder) watch(ctx context.Context, addr string, leaderToo bool) (told bool, err error) {
	s, err := f.cfg.Connect(addr)
	if err != nil {
		return false, err
	}
	if s.Close != nil {
		defer s.Close()
	}
	ctx, cut := context.WithCancelCause(ctx)
	if leaderToo && len(f.Known()) > 1 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, watchLeaderFor)
		defer stop()
	}
	var led atomic.Uint64 // the highest term of which the server has announced a leader
	if !leaderToo {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			f.cutWhereUseless(ctx, addr, &led, cut)
		}()
		defer func() { <-ended }()
	}
	defer cut(nil)
	told, err = f.follow(ctx, addr, s, &led)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return told, err
}

// cutWhereUseless ends a watch when the follower has the watched server for its leader, or is for
// behindFor in a higher term than that of the last leader that the server has announced.
func (f *Finder) cutWhereUseless(ctx context.Context, addr string, led *atomic.Uint64, cut context.CancelCauseFunc) {
	isBehind := func() bool { told := led.Load(); return told != 0 && told < f.follower.Term() }
	var behind <-chan time.Time
	for {
		select {
		case <-f.moved:
			if f.follower.Leader() == addr {
				cut(errMoved)
				return
			}
			if behind == nil && isBehind() {
				behind = time.After(behindFor)
			}
		case <-behind:
			behind = nil
			if isBehind() {
				cut(errBehind)
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// follow reads what a server announces, and notes in led the highest term of which it announced a leader.
func (f *Finder) follow(ctx context.Context, addr string, s Source, led *atomic.Uint64) (told bool, err error) {
	stream, err := s.Client.WatchLeader(ctx, &rotav1.WatchLeaderRequest{})
	if err != nil {
		return false, err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return told, err
		}
		told = true
		if f.cfg.Heard != nil {
			f.cfg.Heard(addr)
		}
		f.Named(m.GetServers())
		f.cfg.Logger.Debug("a leader was announced", "server", addr, "leader", m.GetLeaderAddr(), "term", m.GetTerm())
		if m.GetLeaderAddr() == "" {
			// A term without a leader means nothing here: the server may be cut off, and call elections that
			// nobody hears.
			continue
		}
		led.Store(max(led.Load(), m.GetTerm()))
		follow, settled := f.judge(ctx, m.GetTerm())
		if follow {
			f.Learn(m.GetLeaderAddr())
			f.follower.Follow(ctx, m)
		}
		if !settled {
			return told, errDoubtful
		}
	}
}
