package report

import (
	"strings"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// Grant names the tasks of a job whose tokens are their indexes plus Offset. A grant and an index
// name one attempt.
type Grant struct {
	Job    uint64
	Offset int64
}

// Token is the fencing token of a task.
func (g Grant) Token(index uint32) uint64 { return uint64(int64(index) + g.Offset) }

// Kind is what all results of a report group have in common, beside their texts.
type Kind struct {
	Outcome   rotav1.Outcome
	Reason    rotav1.Reason
	Permanent bool
	// HasExit says that Exit is the exit code of a command.
	HasExit bool
	Exit    int32
	// Missing is how many bytes of the output were not kept, behind its first Head bytes.
	Missing uint64
	Head    uint32
}

// Kinds that have no more to say.
var (
	Succeeded = Kind{Outcome: rotav1.Outcome_OUTCOME_SUCCEEDED}
	// Failed is an attempt that may be tried again, FailedForGood one that must not.
	Failed        = Kind{Outcome: rotav1.Outcome_OUTCOME_FAILED, Reason: rotav1.Reason_REASON_ERROR}
	FailedForGood = Kind{Outcome: rotav1.Outcome_OUTCOME_FAILED, Reason: rotav1.Reason_REASON_ERROR, Permanent: true}
	TimedOut      = Kind{Outcome: rotav1.Outcome_OUTCOME_FAILED, Reason: rotav1.Reason_REASON_TIMEOUT}
	// Stopped is a task that ended because somebody wanted it to, or that was never here.
	Stopped = Kind{Outcome: rotav1.Outcome_OUTCOME_STOPPED}
	// Returned is a task that was never started.
	Returned = Kind{Outcome: rotav1.Outcome_OUTCOME_RETURNED}
	// Lost is a task that ended with the process that watched over it.
	Lost = Kind{Outcome: rotav1.Outcome_OUTCOME_LOST}
)

// Result is how one attempt ended.
type Result struct {
	Kind
	// Err is why it failed; ErrorText makes a text fit for it.
	Err string
	// Stderr is the end of the standard error, and StderrMissing how many bytes stood before it.
	Stderr        []byte
	StderrMissing uint64
	// Output is copied before Add returns.
	Output  []byte
	RunTime time.Duration
	Usage   task.Usage
}

// ErrorText makes a text fit for a report: bounded, and valid UTF-8, because gRPC refuses a message
// with any other string. Bytes that are not valid are shown as escapes.
func ErrorText(text string) string {
	const more = " ..."
	text = task.Legible(text)
	if len(text) > task.MaxError {
		text = strings.ToValidUTF8(text[:task.MaxError-len(more)], "") + more
	}
	return text
}
