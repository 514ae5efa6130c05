package jsonv1

import "time"

// Event is one event of rota events: something that happened in the cluster. What its kind does not have is omitted.
type Event struct {
	// Kind is job.submitted, job.cancelling, job.ended, session.opened, session.closed, server.recorded, server.forgotten, version.raised, more (one entry
	// of the log had more events than are kept), lost (the server does not have the events up to here), or unknown: a newer server
	// knows another kind.
	Kind string `json:"kind"`
	// HappenedAt is the time of the log; null for lost.
	HappenedAt *time.Time `json:"happened_at"`
	// Index is the index of the log at which it happened.
	Index uint64 `json:"index"`
	// Cursor is where to go on behind it: --cursor.
	Cursor string `json:"cursor"`
	// Job is the first of Jobs jobs with consecutive ids. They have Tasks tasks together. For a session, Tasks is how many it held.
	Job   uint64 `json:"job,omitempty"`
	Jobs  uint32 `json:"jobs,omitempty"`
	Tasks uint64 `json:"tasks,omitempty"`
	// Task is the index of the one task that is asked to end; omitted if it is the whole job.
	Task *uint32 `json:"task,omitempty"`
	// RetryOf is the job that this one retries.
	RetryOf uint64 `json:"retry_of,omitempty"`
	// Name is that of the only job, Queue that of all of them.
	Name  string `json:"name,omitempty"`
	Queue string `json:"queue,omitempty"`
	// State is that of jobs that have ended: succeeded, failed or cancelled. Reason is why.
	State  string `json:"state,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Session is that of a worker; Worker is its id, WorkerName its name.
	Session    uint64 `json:"session,omitempty"`
	Worker     string `json:"worker,omitempty"`
	WorkerName string `json:"worker_name,omitempty"`
	// Graceful is of a session that has ended: its worker has ended in good order. It was lost otherwise. Omitted if false.
	Graceful bool `json:"graceful,omitempty"`
	// Server is the node id of a server, Addr its gRPC address.
	Server string `json:"server,omitempty"`
	Addr   string `json:"addr,omitempty"`
	// Version is the active version of the log.
	Version uint32 `json:"version,omitempty"`
	// Count is how many events are not there; omitted if it is not known.
	Count uint32 `json:"count,omitempty"`
}
