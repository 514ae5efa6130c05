package leader

import (
	"context"
	"errors"
	"slices"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/internal/ticks"
)

// watchLeaderFor is how long the leader itself is watched, where no other server
// answered, before the others are tried again.
const watchLeaderFor = 30 * time.Second

var (
	// errMoved ends a watch at a server that leads now.
	errMoved = errors.New("the watched server became leader")
	// errDoubtful ends a watch that told of a lower term than is known, or of one far ahead, while too few
	// servers said how far they are. The next one tells of it again: this one may say nothing more.
	errDoubtful = errors.New("it is not known whether there is a leader of the highest term")
)

// Watch keeps a stream to some server that tells of every new leader, until ctx ends. It prefers a
// server that does not lead: the one that tells of a leader's end should not end with it.
func (f *Finder) Watch(ctx context.Context) {
	var back Backoff
	last, failures := "", 0
	for ctx.Err() == nil {
		// Where all others have failed, the leader has to do.
		leaderToo := f.cfg.WatchLeader && failures >= len(f.Known())-1
		addr := f.watchable(last, leaderToo)
		if addr == "" {
			// There is one server as far as is known. Another may be heard of.
			select {
			case <-f.moved:
			case <-ctx.Done():
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
	if !leaderToo {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			f.cutWhereLeads(ctx, addr, cut)
		}()
		defer func() { <-ended }()
	}
	defer cut(nil)
	told, err = f.follow(ctx, addr, s)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return told, err
}

// cutWhereLeads ends a watch when the follower has the watched server for its leader.
func (f *Finder) cutWhereLeads(ctx context.Context, addr string, cut context.CancelCauseFunc) {
	for {
		select {
		case <-f.moved:
			if f.follower.Leader() == addr {
				cut(errMoved)
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// follow reads what a server announces.
func (f *Finder) follow(ctx context.Context, addr string, s Source) (told bool, err error) {
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
