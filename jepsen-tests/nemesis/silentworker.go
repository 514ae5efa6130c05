package nemesis

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
	"github.com/rota-scheduler/rota/jepsen-tests/network"
	"github.com/rota-scheduler/rota/jepsen-tests/workload"
	"github.com/rota-scheduler/rota/task"
)

// What a silent worker does. It takes tasks, beats, says that they run, and never reports them, whatever
// their timeout and whoever cancels them. They must come to their ends all the same, in the time
// that docs/guarantees.md says, and what is exclusive must run nowhere else before its lease is over.

const (
	// silentTimeout is the timeout of an attempt at its tasks.
	silentTimeout = time.Second
	// silentGiven bounds the wait for a task to be given to it.
	silentGiven = 10 * time.Second
	// silentCall bounds a call.
	silentCall = 5 * time.Second
	// silentWatch is how long to wait for the ends of its tasks: longer than they may take, also if it misses a beat
	// on a busy machine, because then it is given as long again.
	silentWatch = 40 * time.Second
	// silentExpire ends what nobody could be told of: a submit whose answer was lost.
	silentExpire = 60 * time.Second
	// silentRest bounds the wait for what it held and others run, once it is gone.
	silentRest = 15 * time.Second
	// silentPause is the wait before a server is asked again.
	silentPause = 50 * time.Millisecond
	// firstSilentCall numbers the processes of this fault's calls, each of which is one in the history.
	firstSilentCall = 2_000_000
)

// workerSilent gives tasks to workers that say nothing of them: to one that holds nothing exclusive, whose
// tasks the leader takes, and to one whose lease has to end first. A third one, which is honest, runs what
// there is to run again.
func workerSilent(ctx context.Context, h *harm) error {
	host := h.cluster.Clients[h.random.IntN(len(h.cluster.Clients))]
	cl, err := h.cluster.Client(host)
	if err != nil {
		return err
	}
	s := &silence{h: h, host: host, client: cl, name: fmt.Sprintf("silent-%x", h.random.Uint64())}
	// What has begun is brought to its end: half of it would show nothing.
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	h.undo = append(h.undo, s.end)
	work := func(kind string, spec task.Spec) *silentJob { return s.submit(ctx, kind, spec) }
	plain, exclusive := s.worker(ctx, "plain"), s.worker(ctx, "exclusive")
	if plain == nil || exclusive == nil {
		return nil // nobody leads
	}
	timed := work("timed", task.Spec{Handler: plain.handler, Timeout: silentTimeout, MaxAttempts: 1})
	cancelled := work("cancelled", task.Spec{Handler: plain.handler, MaxAttempts: 1})
	serial := work("serial", task.Spec{Handler: exclusive.handler, Timeout: silentTimeout, MaxAttempts: 2, Serial: true})
	await(ctx, silentGiven, silentPause, func() bool { return plain.given() == 2 && exclusive.given() == 1 })
	h.effect = int64(plain.given() + exclusive.given())
	s.parts.Go(func() { s.heir(ctx, plain.handler, exclusive.handler) })
	s.stop(ctx, cancelled)
	s.watch(ctx, timed, cancelled, serial)
	// Too late, and under the tokens with which their tasks have ended: no answer may say that a report was accepted.
	plain.reportAll()
	return nil
}

// silence is one such fault.
type silence struct {
	h      *harm
	host   *network.Host
	client *client.Client
	name   string
	cancel context.CancelFunc
	// parts is what goes on until end.
	parts sync.WaitGroup
	mute  []*puppet
	jobs  []*silentJob
}

// silentJob is a job of one task, and what it was submitted as.
type silentJob struct {
	*client.Job
	key string
}

// worker attaches one that reports nothing; nil: nobody takes it.
func (s *silence) worker(ctx context.Context, kind string) *puppet {
	name := s.name + "-" + kind
	p := s.attach(ctx, name, false, name)
	if p == nil {
		return nil
	}
	s.mute = append(s.mute, p)
	s.h.targets = append(s.h.targets, name)
	s.h.recorder.Note(history.Nemesis, history.FMute, name, history.Silent{Worker: name, Session: p.session})
	return p
}

// attach attaches a puppet to whoever leads; nil: nobody takes it, in time.
func (s *silence) attach(ctx context.Context, name string, honest bool, handlers ...string) *puppet {
	var p *puppet
	await(ctx, silentGiven, silentPause, func() bool {
		for _, server := range s.h.cluster.Servers {
			if server.Name == s.h.leader() {
				p, _ = attachPuppet(ctx, s.h, server, s.host, name, honest, handlers)
			}
		}
		return p != nil
	})
	return p
}

// heir is an honest worker, one session after the other.
func (s *silence) heir(ctx context.Context, handlers ...string) {
	for n := 1; ctx.Err() == nil; n++ {
		if p := s.attach(ctx, fmt.Sprintf("%s-heir%d", s.name, n), true, handlers...); p != nil {
			<-p.done
			p.close()
		}
	}
}

// submit submits a job of one task; nil: nobody knows whether it did.
func (s *silence) submit(ctx context.Context, kind string, spec task.Spec) *silentJob {
	spec.Name, spec.Expire = s.name+"-"+kind, silentExpire
	in := history.Submit{
		Key: spec.Name, Tasks: 1, Serial: spec.Serial, Attempts: spec.MaxAttempts, BackoffNs: (task.BackoffBase * 3 / 4).Nanoseconds(),
		TimeoutNs: spec.Timeout.Nanoseconds(),
	}
	ctx, cancel := context.WithTimeout(ctx, silentCall)
	defer cancel()
	var job *client.Job
	called(s.h, history.FSubmit, in, func() (out history.Submitted, err error) {
		if job, err = s.client.Submit(ctx, client.Request{Spec: spec, Count: 1, Key: in.Key}); err == nil {
			out = history.Submitted{Job: job.ID(), Existed: job.Existed()}
		}
		return out, err
	})
	if job == nil {
		return nil
	}
	made := &silentJob{job, in.Key}
	s.jobs = append(s.jobs, made)
	return made
}

// stop cancels a job.
func (s *silence) stop(ctx context.Context, j *silentJob) {
	if j == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, silentCall)
	defer cancel()
	called(s.h, history.FCancel, history.Cancel{Job: j.ID()}, func() (history.Cancelled, error) {
		info, err := j.Cancel(ctx)
		return history.Cancelled{Cancelled: info.Cancelled, Stopping: info.Stopping}, err
	})
}

// watch waits for the ends of jobs, each by a stream of its results.
func (s *silence) watch(ctx context.Context, jobs ...*silentJob) {
	ctx, cancel := context.WithTimeout(ctx, silentWatch)
	defer cancel()
	var all sync.WaitGroup
	for _, j := range jobs {
		if j == nil {
			continue
		}
		all.Go(func() {
			start := history.StreamStart{Stream: j.key, Job: j.ID()}
			called(s.h, history.FStream, start, func() (history.Streamed, error) {
				out := history.Streamed{Stream: j.key, Job: j.ID()}
				for res, err := range j.AsCompleted(ctx) {
					if err != nil {
						return out, err
					}
					out.Outcomes = append(out.Outcomes, workload.OutcomeOf(&res))
				}
				out.Complete = true
				return out, nil
			})
		})
	}
	all.Wait()
}

// end lets the silent workers go, and others run what they held.
func (s *silence) end(ctx context.Context) error {
	for _, p := range s.mute {
		p.close()
	}
	rest, cancel := context.WithTimeout(ctx, silentRest)
	defer cancel()
	for _, j := range s.jobs {
		// One that does not end is for the drain to find.
		_, _ = j.Wait(rest)
	}
	s.cancel()
	s.parts.Wait()
	return s.client.Close()
}

// called records a call of the nemesis. Where it fails, nobody knows what it did.
func called[In, Out any](h *harm, f history.F, in In, do func() (Out, error)) {
	op := history.Op{Type: history.Invoke, F: f, Process: firstSilentCall + int(h.calls.Add(1))}
	h.recorder.Record(op, in)
	out, err := do()
	op.Type = history.OK
	if err != nil {
		op.Type, op.Error = history.Info, err.Error()
	}
	h.recorder.Record(op, out)
}
