package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// Result is how one task ended. Output and Stderr share memory with the results
// that came in the same message, up to some MiB: what is kept for long should be
// copied.
type Result struct {
	Index uint32
	// Value is what an array job gives to the task; without an array, its index.
	Value uint32
	// Input is the beginning of its payload, task.MaxInput bytes at most, and InputCut says that there
	// is more of it. Only of tasks that failed and have payloads of their own, unless it was asked for;
	// see Job.WithInputs.
	Input    []byte
	InputCut bool
	// RetryOf is which task it was in the job that its job retries; zero: it retries none, or that is
	// not known.
	RetryOf task.ID
	// State is task.Succeeded, task.Failed or task.Cancelled, and Reason says why.
	State  task.State
	Reason task.Reason
	// Attempt is the one that ended it, from 1 on; 0: it was never assigned.
	Attempt uint32
	// Token is the fencing token of that attempt; 0: it was never assigned.
	Token uint64
	// Worker is the name of the worker that ran it, its id if it has none.
	Worker string
	// ExitCode is that of a command; nil if none ended by itself.
	ExitCode *int
	// Output is what the handler returned, or the command's standard output.
	Output []byte
	// OutputMissing is how many bytes of a command's standard output were not kept, as there were
	// more than task.MaxPayload; they stood after the first OutputHead bytes of Output.
	OutputMissing uint64
	OutputHead    int
	// Error says what went wrong, for people.
	Error string
	// Stderr is the end of the command's standard error, however it ended; it need not be UTF-8.
	Stderr []byte
	// StderrMissing is how many bytes of the standard error stood before Stderr and were not kept; 0: none, or not known.
	StderrMissing uint64
	FinishedAt    time.Time
	// Usage is what its command has used.
	Usage task.Usage

	message *message
	nth     uint32
}

// message is the place in the stream of a message, shared by its results.
type message struct {
	start position
	// next is the server's cursor behind the message, count how many results it has.
	next  []byte
	count uint32
}

// Cursor returns where AsCompletedFrom continues after this result, also in another
// process. It is opaque and good for as long as the servers keep the job. It is
// nil for results that did not come from AsCompleted.
func (r *Result) Cursor() []byte {
	m := r.message
	if m == nil || m.start.order != rotav1.ResultOrder_RESULT_ORDER_COMPLETED {
		return nil
	}
	p := m.start
	if r.nth+1 == m.count {
		p.base, p.before, p.skip, p.last = m.next, p.before+m.count, 0, 0
	} else {
		p.skip, p.last = r.nth+1, r.Index
	}
	return p.encode()
}

// Results returns the results of all tasks in index order, from the start. A task
// that is not final holds up those after it. It ends when the job is final and
// all results were returned; an error ends it, and ctx does.
func (j *Job) Results(ctx context.Context) iter.Seq2[Result, error] {
	return j.results(ctx, rotav1.ResultOrder_RESULT_ORDER_INDEX, nil)
}

// AsCompleted returns the results of all tasks as they complete, from the start.
// It ends as Results does. It goes on by itself after a failover, with no gap and
// no result twice.
func (j *Job) AsCompleted(ctx context.Context) iter.Seq2[Result, error] {
	return j.AsCompletedFrom(ctx, nil)
}

// AsCompletedFrom is AsCompleted from behind the result that the cursor came from;
// an empty one is the start.
func (j *Job) AsCompletedFrom(ctx context.Context, cursor []byte) iter.Seq2[Result, error] {
	return j.results(ctx, rotav1.ResultOrder_RESULT_ORDER_COMPLETED, cursor)
}

func (j *Job) results(ctx context.Context, order rotav1.ResultOrder, cursor []byte) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		op := j.op("read the results of")
		at, err := parsePosition(cursor, j.id, order)
		if err != nil {
			yield(Result{}, fmt.Errorf("%s: %w", op, err))
			return
		}
		// A stream lasts as long as its job, so its attempts have no timeout.
		a := j.c.attempts(ctx, call{op: op, safe: true, follow: true, timeout: -1})
		r := &resultReader{at: at, know: j.known(), inputs: j.inputs()}
		for {
			s, err := a.next()
			if err != nil {
				yield(Result{}, err)
				return
			}
			attempt, stop := a.begin(s)
			err = r.read(attempt, s, a, yield)
			moved := errors.Is(context.Cause(attempt), errNewLeader)
			stop()
			if errors.Is(err, errDone) {
				if r.over && j.over != nil {
					notify(j.over)
				}
				return
			}
			if err := a.failed(err, moved); err != nil {
				yield(Result{}, err)
				return
			}
		}
	}
}

// errDone ends the reading of a stream: all was read, or the caller wants no more.
var errDone = errors.New("done")

// resultReader reads the result streams of one job, one after the other, and
// checks that together they bring each result once.
type resultReader struct {
	at position
	// know is what a server must know of the job before it is believed.
	know *rotav1.ReadOptions
	// inputs is of which results it is wanted what was put in, and origin, which comes with the first
	// message then, tells tasks apart.
	inputs rotav1.ResultInputs
	origin *origin
	// seen has a bit for each task whose result was returned.
	seen []uint64
	// over: the job is final.
	over bool
}

// read reads one stream from where the last one ended, until it breaks, or errDone.
func (r *resultReader) read(ctx context.Context, s *server, a *attempts, yield func(Result, error) bool) error {
	stream, err := s.jobs.StreamResults(ctx, &rotav1.StreamResultsRequest{
		JobId: r.at.job, Order: r.at.order, Cursor: r.at.base, Read: r.know, Inputs: r.inputs,
	})
	if err != nil {
		return err
	}
	for {
		msg, err := stream.Recv()
		if err != nil {
			return err
		}
		a.progress()
		if err := r.deliver(msg, yield); err != nil {
			return err
		}
		if msg.GetComplete() {
			return r.complete(msg)
		}
	}
}

// deliver returns the results of one message to the caller.
func (r *resultReader) deliver(msg *rotav1.StreamResultsResponse, yield func(Result, error) bool) error {
	count, err := countResults(msg)
	if err != nil {
		return err
	}
	if count == 0 {
		if r.ofAnother(msg) {
			return task.Errorf(task.KindConflict,
				"the cursor is from before the cluster was restored: results that it counts may be gone, and others may have come in their place; read the results from the start")
		}
		if len(msg.GetCursor()) > 0 && r.at.skip == 0 {
			r.at.base = msg.GetCursor()
		}
		return nil
	}
	if len(msg.GetCursor()) == 0 || bytes.Equal(msg.GetCursor(), r.at.base) {
		return malformed("a message of results has no cursor of its own")
	}
	if r.origin == nil && msg.GetJob() != nil {
		r.origin = originOf(msg.GetJob())
	}
	m := &message{start: r.at, next: msg.GetCursor(), count: count}
	// The start of the message is no place within it.
	m.start.skip, m.start.last = 0, 0
	nth := uint32(0)
	for _, g := range msg.GetGroups() {
		result, err := groupResult(g)
		if err != nil {
			return err
		}
		result.message = m
		outputs := g.GetPackedOutputs()
		packed := len(outputs) > 0
		inputs, usages := g.GetPackedInputs(), g.GetPackedUsage()
		described := len(inputs)+len(usages) > 0
		for _, indexes := range g.GetRanges() {
			for i := range indexes.GetCount() {
				result.Index, result.nth = indexes.GetFirst()+i, nth
				nth++
				r.origin.describe(&result)
				if described {
					if inputs, err = result.input(inputs); err != nil {
						return err
					}
					if usages, err = result.used(usages); err != nil {
						return err
					}
				}
				if packed {
					var ok bool
					if result.Output, outputs, ok = task.PackNext(outputs); !ok {
						return malformed("the output of task %d is cut short", result.Index)
					}
				}
				if result.OutputMissing > 0 {
					result.OutputHead = min(int(g.GetOutputHead()), len(result.Output))
				}
				if g.GetGranted() {
					token := int64(result.Index) + g.GetTokenOffset()
					if token <= 0 {
						return malformed("the token of task %d is %d", result.Index, token)
					}
					result.Token = uint64(token)
				}
				if err := r.account(result.Index, nth-1); err != nil {
					return err
				}
				if nth <= r.at.skip {
					continue
				}
				if !yield(result, nil) {
					return errDone
				}
			}
		}
		if len(outputs) > 0 {
			return malformed("%d bytes of outputs belong to no task", len(outputs))
		}
	}
	r.at.base, r.at.before = m.next, r.at.before+count
	r.at.skip -= min(r.at.skip, count)
	return nil
}

// ofAnother says that the place where the caller goes on is not one of the cluster that answers. A cluster that was restored
// gives the start a cursor too, which then stands in every place of the first message; see Result.Cursor.
func (r *resultReader) ofAnother(msg *rotav1.StreamResultsResponse) bool {
	return len(r.at.base) == 0 && r.at.skip > 0 && len(msg.GetCursor()) > 0 && !msg.GetComplete()
}

// account checks the promise that each task has one result, and that results in
// index order leave none out.
func (r *resultReader) account(index, nth uint32) error {
	word, bit := index/64, uint64(1)<<(index%64)
	if r.at.order == rotav1.ResultOrder_RESULT_ORDER_INDEX {
		if want := r.at.before + nth; index != want {
			return malformed("the result of task %d came in the place of task %d", index, want)
		}
		return nil
	}
	if nth+1 == r.at.skip && index != r.at.last {
		return malformed("the cursor stands behind task %d, but the servers have task %d there", r.at.last, index)
	}
	for int(word) >= len(r.seen) {
		r.seen = append(r.seen, 0)
	}
	if r.seen[word]&bit != 0 {
		return malformed("the result of task %d came twice", index)
	}
	r.seen[word] |= bit
	return nil
}

// complete checks that at the end of a stream nothing is missing.
func (r *resultReader) complete(msg *rotav1.StreamResultsResponse) error {
	if r.at.skip > 0 {
		return malformed("the cursor stands behind %d results that are not there", r.at.skip)
	}
	if total := msg.GetJob().GetTasks().GetTotal(); msg.GetJob() != nil && r.at.before != total {
		return malformed("the job has %d tasks, but %d results came", total, r.at.before)
	}
	r.over = true
	return errDone
}

// countResults counts the results of a message and checks that their indexes are
// within bounds, so that what follows cannot be made to run for ever.
func countResults(msg *rotav1.StreamResultsResponse) (uint32, error) {
	var count uint64
	for _, g := range msg.GetGroups() {
		for _, indexes := range g.GetRanges() {
			if uint64(indexes.GetFirst())+uint64(indexes.GetCount()) > task.MaxTasks {
				return 0, malformed("a range of tasks ends at %d", uint64(indexes.GetFirst())+uint64(indexes.GetCount()))
			}
			count += uint64(indexes.GetCount())
		}
	}
	if count > task.MaxTasks {
		return 0, malformed("a message has %d results", count)
	}
	return uint32(count), nil
}

// groupResult is what all results of a group have in common.
func groupResult(g *rotav1.ResultGroup) (Result, error) {
	state, err := wire.StateFromProto(g.GetState())
	if err != nil {
		return Result{}, err
	}
	if !state.Final() {
		return Result{}, malformed("a result has state %v", state)
	}
	r := Result{
		State: state, Reason: reason(g.GetReason()), Attempt: g.GetAttempt(), Worker: g.GetWorker(),
		Error: g.GetError(), Stderr: g.GetStderrTail(), StderrMissing: g.GetStderrMissing(), FinishedAt: moment(g.GetFinishedAt()),
		OutputMissing: g.GetOutputMissing(),
	}
	if g.ExitCode != nil {
		code := int(g.GetExitCode())
		r.ExitCode = &code
	}
	return r, nil
}

// malformed is the error of a stream that breaks a promise. Another server has the
// same results, so asking it is no remedy.
func malformed(format string, args ...any) error {
	return task.Errorf(task.KindInternal, "the server's results are wrong: "+format, args...)
}
