package task

import "time"

// Limits on what input can grow. Each is checked before a request is proposed
// to the log, so that nothing in the log exceeds it. What applying the log depends on is read from
// Rules: there it belongs to a version.
const (
	// MaxTasks is the largest number of tasks of a job. The cost of a job grows with the tasks that were
	// touched. No log entry grows with the size of its job.
	MaxTasks = 10_000_000
	// MaxLiveJobs is the largest number of jobs of a cluster that have not ended. Every server has all
	// of them in memory, see docs/operations.md.
	MaxLiveJobs = 10_000_000
	// MaxPayload is the largest payload or result of one task, bytes. Larger data
	// belongs where tasks can read it; the log is not a file store. Of a larger output
	// of a command the worker keeps both ends (see StdoutEnds).
	MaxPayload = 256 << 10
	// MaxRequest is the largest unary request, bytes; longer jobs grow by AppendTasks.
	MaxRequest = 4 << 20
	// MaxName bounds names of jobs, queues, handlers and workers, bytes.
	MaxName = 256
	// MaxRequestKey bounds a request key, bytes.
	MaxRequestKey = 256
	// MaxArgs and MaxArgBytes bound the argument list of a command.
	MaxArgs     = 1024
	MaxArgBytes = 64 << 10
	// MaxPairs and MaxPairBytes bound each map of a spec: environment, labels, meta.
	MaxPairs     = 64
	MaxPairBytes = 32 << 10
	// MaxValueRuns bounds the runs of values of a job.
	MaxValueRuns = 4096
	// MaxError and MaxStderrTail bound what an attempt leaves behind beside its output, bytes.
	MaxError      = 4 << 10
	MaxStderrTail = 64 << 10
	// MaxAttemptStderr bounds the standard error of an attempt that did not end its task, bytes. There may be
	// MaxAttemptsKept of them.
	MaxAttemptStderr = 8 << 10
	// MaxStoppedOutput bounds the output of a task that was cancelled while it ran, bytes: its end.
	MaxStoppedOutput = 64 << 10
	// MaxHealth bounds the text with which a worker says why it is unhealthy, bytes.
	MaxHealth = 256
	// MaxPriority bounds a priority on both sides.
	MaxPriority = 1000

	// MaxAttemptsKept is how many of the attempts that did not end a task are kept, the newest ones: each may
	// have an error and a standard error.
	MaxAttemptsKept = 10

	// DefaultAttempts is how often a task is tried when the spec does not say.
	DefaultAttempts = 3
	// MaxAttempts bounds what the spec may say.
	MaxAttempts = 100
	// MaxLost is how many workers a task may lose before it fails. It is counted
	// apart from attempts: a lost worker says little about the task.
	MaxLost = 5
	// ReportMargin is how long a worker that sends beats may be silent about a task after the timeout
	// of the task, or after the request to stop it. Then the leader takes the task from the worker. A
	// worker gives a task 5 s to end before it kills it; the rest is for reports that wait for room.
	ReportMargin = 15 * time.Second

	// MaxDelay bounds delays, timeouts, expiries and retentions.
	MaxDelay = 10 * 365 * 24 * time.Hour
	// OpenTimeout is how long an open job lives without an append.
	OpenTimeout = 10 * time.Minute
	// RetainSucceeded and RetainOther are how long a finished job is kept by default.
	RetainSucceeded = 24 * time.Hour
	RetainOther     = 7 * 24 * time.Hour
	// KeyRetention is how long a request key lives at least after its job has ended.
	KeyRetention = 24 * time.Hour

	// MaxSlots bounds the slots of a worker.
	MaxSlots = 4096
	// MaxOutstanding bounds the tasks that a worker may hold beyond its slots.
	MaxOutstanding = 16384
	// MaxHandlers and MaxQueues bound what a worker registers for. MaxOffered bounds all of these names
	// together, bytes: lists of workers contain them, and each server keeps them.
	MaxHandlers = 1024
	MaxQueues   = 1024
	MaxOffered  = 64 << 10
	// MaxWorkers bounds the open sessions of a cluster.
	MaxWorkers = 20_000
)

// DefaultQueue is the queue of jobs that name none.
const DefaultQueue = "default"

// Backoff before attempt n+1 is BackoffBase * 2^(n-1), at most BackoffMax, with
// jitter of +-25 % from a hash of the task, so that every server computes the same.
const (
	BackoffBase = time.Second
	BackoffMax  = 5 * time.Minute
)

// Backoff is Rules.Backoff by the newest rules.
func Backoff(job uint64, index, failures uint32) time.Duration {
	return newest.Backoff(job, index, failures)
}

// MixSeed is the hash of no words.
const MixSeed uint64 = 0x9e3779b97f4a7c15

// Mix is a fast, well-spread hash of a few words (the finalizer of SplitMix64,
// chained). It is stored in digests: its values must not change.
func Mix(words ...uint64) uint64 {
	h := MixSeed
	for _, w := range words {
		h = MixWord(h, w)
	}
	return h
}

// MixWord adds the word w to h, the hash of the words before it. It saves the slice when the words of
// millions of tasks are hashed.
func MixWord(h, w uint64) uint64 {
	h ^= w
	h ^= h >> 30
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 27
	h *= 0x94d049bb133111eb
	return h ^ h>>31
}
