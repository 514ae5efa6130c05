package node

import (
	"sync"
	"time"

	"github.com/rota-scheduler/rota/task"
)

const (
	// maxCallBacks is how many servers are asked back at a time that ask to be taken in, and that the cluster
	// does not know. Those that it knows come on top: strangers who do not answer
	// must not keep a server that has moved from being recorded.
	maxCallBacks = 4
	// joinPause is the least time between two changes for one server, and between two for
	// servers that the cluster does not know. Each is two or three entries of the log.
	joinPause = time.Second
	// noteKept is how long the leader remembers why a server was refused: it asks again sooner.
	noteKept = 10 * time.Second
)

// joins bounds what it costs that servers ask to be taken in, or to be recorded.
type joins struct {
	mu sync.Mutex
	// running is how many are being asked back, and next when the next change may be made, by
	// change.key. There are as many keys as servers of the cluster have node ids.
	running map[string]int
	next    map[string]time.Time
	// why is why a server of the cluster was refused, by node id.
	why map[string]refusedJoin
}

type refusedJoin struct {
	text string
	at   time.Time
}

// enter begins a change, unless there are too many.
func (j *joins) enter(key string, now time.Time) (leave func(), err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	wait := max(0, j.next[key].Sub(now))
	most := 1
	if key == "" {
		most = maxCallBacks
	}
	if wait == 0 && j.running[key] == most {
		wait = retryDelay
	}
	if wait > 0 {
		return nil, &task.Error{Kind: task.KindExhausted, Msg: "servers join or move too often: this one has to wait", RetryAfter: wait}
	}
	if j.running == nil {
		j.running = map[string]int{}
	}
	j.running[key]++
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		if j.running[key]--; j.running[key] == 0 {
			delete(j.running, key)
		}
	}, nil
}

// admitted says that a change was made.
func (j *joins) admitted(key string, now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for k, at := range j.next {
		if at.Before(now) {
			delete(j.next, k)
		}
	}
	if j.next == nil {
		j.next = map[string]time.Time{}
	}
	j.next[key] = now.Add(joinPause)
}

// refused remembers why a server of the cluster was refused, or that it was not, and
// returns err.
func (j *joins) refused(nodeID string, known bool, err error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.why, nodeID)
	if known && err != nil {
		if j.why == nil {
			j.why = map[string]refusedJoin{}
		}
		j.why[nodeID] = refusedJoin{err.Error(), time.Now()}
	}
	return err
}

// notes is why servers were refused of late.
func (j *joins) notes() (out []Note) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for id, r := range j.why {
		if time.Since(r.at) > noteKept {
			delete(j.why, id)
			continue
		}
		out = append(out, Note{id, r.text})
	}
	return out
}
