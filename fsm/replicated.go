package fsm

import (
	"github.com/tidwall/btree"

	"github.com/rota-scheduler/rota/fsm/logpb"
)

// replicated is what entries of the log change: records that go into the digest and to the disk, and counts and
// indexes over these that each entry keeps up to date. All that Apply decides by stands here, or in History. So all
// servers have the same at the same index of the log, apart from what each has flushed and forgotten.
//
// Nothing may stand here that depends on anything but entries: not on the time of a look, on who is connected, or on
// who leads. That is derived. A part of a job, a session or a spec that is derived stands in a struct of its own there.
type replicated struct {
	clusterID     string
	active        uint32 // the active version; 0: no entry was applied yet
	clock         int64
	applied, term uint64
	configuration []byte
	configIndex   uint64
	nextJob       uint64
	nextToken     uint64
	nextSession   uint64
	digests       []*logpb.DigestMark
	servers       []*logpb.ServerRecord
	incarnation   *logpb.Incarnation     // nil: the first one
	removed       []*logpb.RemovedServer // in the order of their removal
	jobs          map[uint64]*job
	sessions      map[uint64]*session
	keys          map[string]*keyEntry
	access        map[string]*logpb.AccessToken // by hash
	// What jobs and sessions share.
	specs     map[SpecID]*spec
	abilities map[string]*abilities

	// The digests of jobs, sessions, keys and access tokens.
	jobsSum, sessionsSum, keysSum, accessSum uint64

	// Indexes and counts.
	jobOrder        btree.Map[uint64, *job]
	sessionOrder    btree.Map[uint64, *session]
	byWorker        btree.Map[string, *session]
	sessionBytes    int    // what sessions offer, encoded
	liveJobs        int    // those that have not ended
	outstandingLive uint64 // tasks in slots that are not final
}

func newReplicated() replicated {
	return replicated{
		nextJob: 1, nextToken: 1, nextSession: 1,
		jobs:      map[uint64]*job{},
		sessions:  map[uint64]*session{},
		keys:      map[string]*keyEntry{},
		access:    map[string]*logpb.AccessToken{},
		specs:     map[SpecID]*spec{},
		abilities: map[string]*abilities{},
	}
}
