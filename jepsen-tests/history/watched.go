package history

// What is asked of servers beside the load, from their own hosts.
const (
	// FProbe is a linearizable read of one server: Probe, Probed.
	FProbe F = "probe"
	// FSample is what a server says of itself: Sample. A note, as is the following.
	FSample F = "sample"
	// FWorkers is the workers as the leader sees them: Workers.
	FWorkers F = "workers"
	// FStale is a read of a job that may be behind: Stale, StaleRead.
	FStale F = "stale"
)

// Probe is a read of one server.
type Probe struct {
	Server string `json:"server"`
}

// Probed is its answer.
type Probed struct {
	Applied uint64 `json:"applied"`
}

// Sample is what a server says of itself.
type Sample struct {
	// Process is when it was started: it tells processes of one server apart.
	Process string `json:"process"`
	// ServerID is its identity, Voters those of all that vote, as far as it knows.
	ServerID string  `json:"server_id,omitempty"`
	Voters   []Voter `json:"voters,omitempty"`
	Term     uint64  `json:"term"`
	Applied  uint64  `json:"applied"`
	// Commit is how far it knows the log to be committed: from 0 on with each process.
	Commit   uint64 `json:"commit,omitempty"`
	Routines int64  `json:"goroutines"`
	Files    int64  `json:"files"`
	Heap     int64  `json:"heap"`
	// Log is how many bytes its log has on disk.
	Log int64 `json:"log,omitempty"`
	// Version is the active version of the log, Knows the newest one that its build knows; 0: it did not say.
	Version uint32 `json:"version,omitempty"`
	Knows   uint32 `json:"knows,omitempty"`
}

// Voter is a server with a vote.
type Voter struct {
	Node     string `json:"node"`
	ServerID string `json:"server_id"`
}

// Workers is the workers as the leader sees them.
type Workers struct {
	Workers []Worker `json:"workers"`
}

// Worker is one of them.
type Worker struct {
	Name     string `json:"name"`
	Slots    uint32 `json:"slots"`
	Assigned uint32 `json:"assigned"`
	Running  uint32 `json:"running"`
}

// Stale is a read of a job that must have reached an index.
type Stale struct {
	// Session names one client, whatever processes it goes on as.
	Session string `json:"session"`
	Job     uint64 `json:"job"`
	Min     uint64 `json:"min"`
	// Total is the most tasks that the session has seen of the job by that index.
	Total uint32 `json:"total"`
}

// StaleRead is the answer.
type StaleRead struct {
	Applied uint64 `json:"applied"`
	Total   uint32 `json:"total"`
}

// Removed is a server that was removed from the cluster.
type Removed struct {
	Node     string `json:"node"`
	ServerID string `json:"server_id"`
	// Index is how far the log was committed when the removal was acknowledged.
	Index uint64 `json:"index"`
}

// Member is a change of a server: add, promote or demote.
type Member struct {
	Node   string `json:"node"`
	Change string `json:"change"`
}

// Membered is what became of the server.
type Membered struct {
	ServerID string `json:"server_id,omitempty"`
	Voter    bool   `json:"voter,omitempty"`
	// Voters is how many servers vote then.
	Voters int `json:"voters,omitempty"`
}
