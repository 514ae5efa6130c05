package history

// What the suite's own workers do and see. They speak the protocol of workers themselves,
// so that they can break off, fall silent and report too late on purpose.
const (
	// FReport reports the end of one attempt: Report, Reported.
	FReport F = "report"
	// FSession is an answer to a hello: Session. A note, as are the following.
	FSession F = "session"
	// FGrant is an attempt that a worker was given: Grant.
	FGrant F = "grant"
	// FBeat is a beat that was acknowledged: Beat.
	FBeat F = "beat"
	// FSilent is a worker that stops beating on purpose: Silent.
	FSilent F = "silent"
	// FMute is a worker that goes on beating and reports nothing from now on: Silent.
	FMute F = "mute"
)

// Fence begins an output that says under which fencing token it was made: the number that
// follows.
const Fence = "fence="

// Report is the end of an attempt as it is reported.
type Report struct {
	Worker string `json:"worker"`
	Job    uint64 `json:"job"`
	Index  uint32 `json:"task"`
	Token  uint64 `json:"token"`
	// Outcome is succeeded, failed or stopped.
	Outcome string `json:"outcome"`
	// Permanent: a failure that is not to be tried again.
	Permanent bool `json:"permanent,omitempty"`
	// Why is what is special about it: late, twice, old-token, unknown-token; empty: it is
	// what an honest worker says.
	Why string `json:"why,omitempty"`
}

// Reported is the verdict: recorded, already, superseded or unknown.
type Reported struct {
	Verdict string `json:"verdict"`
}

// Session is an answer to a hello.
type Session struct {
	Worker string `json:"worker"`
	// Process tells processes of one worker identity apart.
	Process string `json:"process"`
	// Sent is when the hello was sent, on the clock of Op.Time.
	Sent int64 `json:"sent"`
	// First is when the first hello of its process was sent, on the clock of Op.Time: it may
	// have had its effect, and its answer was lost.
	First int64 `json:"first,omitempty"`
	// Replaces is the session of a process that has ended, as this one says.
	Replaces uint64 `json:"replaces,omitempty"`
	// Refused: another process has this identity.
	Refused  bool   `json:"refused,omitempty"`
	Session  uint64 `json:"session,omitempty"`
	Attached bool   `json:"attached,omitempty"`
	LeaseNs  int64  `json:"lease_ns,omitempty"`
}

// Grant is an attempt that a worker was given.
type Grant struct {
	Worker  string `json:"worker"`
	Session uint64 `json:"session"`
	Job     uint64 `json:"job"`
	Index   uint32 `json:"task"`
	Attempt uint32 `json:"attempt"`
	Token   uint64 `json:"token"`
}

// Beat is a beat that was acknowledged behind a Barrier.
type Beat struct {
	Worker  string `json:"worker"`
	Session uint64 `json:"session"`
	// Sent is when it was sent, on the clock of Op.Time.
	Sent int64 `json:"sent"`
}

// Silent is a worker that beats no more from now on, or one that beats and reports no more.
type Silent struct {
	Worker  string `json:"worker"`
	Session uint64 `json:"session"`
}
