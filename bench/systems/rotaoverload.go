package systems

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/bench/harness"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

const (
	// overloadPrograms is how many SDK clients the clients of Overload share: servers hold
	// a single one up by not reading its stream, before they have to refuse anything.
	overloadPrograms = 8
	// overloadRSS is how much memory a server may take under any load: 64 MiB of requests
	// that wait for the log and 256 MiB of changes that wait for the disk, at twice their
	// size as Go's heap goes, and as much again for what is being received and sent.
	overloadRSS = 1 << 30
	// statusTimeout bounds the question who leads when all is over.
	statusTimeout = 10 * time.Second
	// maxOverloadErrors bounds the errors that are told of clients.
	maxOverloadErrors = 5
)

// refusals counts how often servers have asked for submits to come later, and how often
// these came twice.
type refusals struct {
	mu             sync.Mutex
	count, without int64
	// resent counts answers to submits that had been made before: their clients had given
	// up waiting for the answer, and sent them once more.
	resent      int64
	least, most time.Duration
}

func (r *refusals) add(a *rotav1.SubmitAnswer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.GetResponse().GetExisted() {
		r.resent++
	}
	if codes.Code(a.GetCode()) != codes.ResourceExhausted {
		return
	}
	delay := a.GetError().GetRetryAfter().AsDuration()
	r.count++
	if delay <= 0 {
		r.without++
		return
	}
	r.most = max(r.most, delay)
	if r.least == 0 || delay < r.least {
		r.least = delay
	}
}

// watch looks at the answers of servers on their way to an SDK client, which deals with
// refusals by itself.
func (r *refusals) watch() grpc.DialOption {
	return grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string,
		open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		s, err := open(ctx, desc, conn, method, opts...)
		return &watched{s, r}, err
	})
}

type watched struct {
	grpc.ClientStream
	refusals *refusals
}

// RecvMsg implements grpc.ClientStream.
func (w *watched) RecvMsg(m any) error {
	err := w.ClientStream.RecvMsg(m)
	if answer, ok := m.(*rotav1.SubmitStreamResponse); ok && err == nil {
		for _, a := range answer.GetAnswers() {
			w.refusals.add(a)
		}
	}
	return err
}

// overload submits more than the cluster can take until its time is over, and waits for
// all results. It is an error if one is missing or wrong, a process has ended, or a
// refusal did not say when to come again.
func (r *Rota) overload(ctx context.Context, load *harness.Load) (harness.Measure, error) {
	before, err := r.client.Status(ctx)
	if err != nil {
		return harness.Measure{}, err
	}
	pids := r.pids()
	seen := &refusals{}
	programs, closeAll, err := r.overloadClients(seen)
	defer closeAll()
	if err != nil {
		return harness.Measure{}, err
	}
	m, err := flood(load, func(c, i int) error { return runOne(ctx, programs[c%len(programs)], load, i) })
	m.Overload.Refused, m.Overload.LeastDelay, m.Overload.MostDelay = seen.count, seen.least, seen.most
	m.Overload.Resent, m.Overload.RSSBound = seen.resent, overloadRSS
	errs := []error{err}
	if seen.without > 0 {
		errs = append(errs, fmt.Errorf("%w: %d of %d refusals did not say when to come again", harness.ErrBroken, seen.without, seen.count))
	}
	for name, pid := range r.pids() {
		if pid != pids[name] || !processAlive(pid) {
			errs = append(errs, fmt.Errorf("%w: %s has ended under the load", harness.ErrBroken, name))
		}
	}
	for _, s := range r.cluster.Servers {
		peak, err := peakRSS(s.Pid())
		errs = append(errs, err)
		m.Overload.PeakRSS = max(m.Overload.PeakRSS, peak)
	}
	// What became of the cluster is told of an overload that did not end in time, too.
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), statusTimeout)
	defer cancel()
	after, err := r.client.Status(asking)
	m.Overload.LeaderChanges = after.Term - min(before.Term, after.Term)
	if errs = append(errs, err); seen.count == 0 {
		errs = append(errs, fmt.Errorf("the cluster took all that %d clients gave it and refused nothing: that is no overload; use more --clients", load.Clients))
	}
	if err := errors.Join(errs...); err != nil {
		return m, fmt.Errorf("%d tasks had their result, %d submits were refused and %d came twice, a server took %d MB at most, and the leader changed %d times: %w",
			m.Tasks, seen.count, seen.resent, m.Overload.PeakRSS/1e6, m.Overload.LeaderChanges, err)
	}
	return m, nil
}

// overloadClients are the SDK clients of an overload, which closeAll closes.
func (r *Rota) overloadClients(seen *refusals) (programs []*client.Client, closeAll func(), err error) {
	closeAll = func() {
		for _, p := range programs {
			_ = p.Close() // Every call has ended: there is nothing to lose.
		}
	}
	for range overloadPrograms {
		p, err := client.New(client.Config{Addrs: r.ground.Addrs(), DialOptions: append(r.ground.DialOptions(), seen.watch())})
		if err != nil {
			return programs, closeAll, err
		}
		programs = append(programs, p)
	}
	return programs, closeAll, nil
}

// pids is the numbers of all processes by their names.
func (r *Rota) pids() map[string]int {
	pids := map[string]int{}
	for _, p := range r.cluster.Processes() {
		pids[p.Name] = p.Pid()
	}
	return pids
}

// processAlive says whether a process is there, and not a zombie.
func processAlive(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && !strings.Contains(string(data), "State:\tZ")
}

// runOne runs task i and checks its result.
func runOne(ctx context.Context, c *client.Client, load *harness.Load, i int) error {
	payload := load.Payload(i)
	spec := task.Spec{Handler: noopHandler}
	if harness.OverloadLarge(i) {
		spec.Handler = echoHandler
	}
	result, err := c.Run(ctx, spec, payload)
	if err == nil && (result.State != task.Succeeded || string(result.Output) != string(harness.Work(payload))) {
		err = fmt.Errorf("%w: task %d: %s, a result of %d bytes: %s", harness.ErrBroken, i, result.State, len(result.Output), result.Error)
	}
	return err
}

// flood lets many clients run one task after the other until the time is over, and takes
// the time of each. run gets the number of its client and of its task.
func flood(load *harness.Load, run func(client, i int) error) (harness.Measure, error) {
	m := harness.Measure{Overload: &harness.Overloaded{Clients: load.Clients}}
	var next, failed atomic.Int64
	var mu sync.Mutex
	var errs []error
	var parts sync.WaitGroup
	start := time.Now()
	until := start.Add(load.For)
	for c := range load.Clients {
		parts.Go(func() {
			var own []time.Duration
			large := 0
			for time.Now().Before(until) && failed.Load() == 0 {
				i := int(next.Add(1) - 1)
				began := time.Now()
				if err := run(c, i); err != nil {
					mu.Lock()
					if failed.Add(1) <= maxOverloadErrors {
						errs = append(errs, err)
					}
					mu.Unlock()
					return
				}
				own = append(own, time.Since(began))
				if harness.OverloadLarge(i) {
					large++
				}
			}
			mu.Lock()
			defer mu.Unlock()
			m.Latencies = append(m.Latencies, own...)
			m.Overload.Large += large
		})
	}
	parts.Wait()
	m.Tasks, m.Elapsed = len(m.Latencies), time.Since(start)
	m.Overload.Drained = max(0, time.Since(until))
	if n := failed.Load(); n > 0 {
		errs = append([]error{fmt.Errorf("%d clients got an error for a result; the first ones", n)}, errs...)
	}
	return m, errors.Join(errs...)
}

// peakRSS is the largest resident set that a process ever had, bytes.
func peakRSS(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read the memory of a server: %w", err)
	}
	return parsePeakRSS(string(data))
}

func parsePeakRSS(status string) (int64, error) {
	for line := range strings.Lines(status) {
		text, ok := strings.CutPrefix(line, "VmHWM:")
		if !ok {
			continue
		}
		kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB")), 10, 64)
		return kb << 10, err
	}
	return 0, errors.New("the status of a process does not tell its peak memory")
}
