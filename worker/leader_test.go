package worker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// deadline is how long tests wait for what must happen.
const deadline = 60 * time.Second

// roomyLease is a lease for tests of what ends with it: the fifth of it that is left then is longer
// than a busy machine keeps a process waiting, and no beat is that late.
const roomyLease = 10 * time.Second

// eventually waits for a condition.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !condition(); {
		if time.Now().After(end) {
			require.FailNow(t, "it did not happen in time: "+what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// attempt is one execution as a leader knows it.
type attempt struct {
	job   uint64
	index uint32
	token uint64
}

// noted is what was reported of an attempt.
type noted struct {
	outcome   rotav1.Outcome
	reason    rotav1.Reason
	exit      *int32
	err       string
	stderr    string
	output    string
	permanent bool
	usage     task.Usage
	missing   uint64
	head      uint32
}

// double is a scripted leader: it welcomes, answers beats and reports unless told
// not to, and takes note of everything.
type double struct {
	rotav1.UnimplementedWorkerServiceServer
	rotav1.UnimplementedClusterServiceServer

	addr   string
	server *grpc.Server

	mu sync.Mutex
	// What it does; set before it is needed, under the lock.
	term      uint64
	lease     time.Duration
	refuse    error
	welcome   func(h *rotav1.Hello, w *rotav1.Welcome)
	noBeats   bool
	noReports bool
	beatTerm  uint64
	stops     []*rotav1.HeldTasks
	// countOnly says that reports are counted, not kept.
	countOnly bool
	counted   atomic.Int64
	progress  chan struct{}

	// What it has seen.
	session  uint64
	assigned []*rotav1.Assignment
	hellos   []*rotav1.Hello
	beats    []*rotav1.Beat
	seqs     []uint64
	reports  map[attempt][]noted
	goodbyes int
	stream   grpc.BidiStreamingServer[rotav1.SessionRequest, rotav1.SessionResponse]
	cut      context.CancelFunc
	sending  sync.Mutex
	leaders  chan *rotav1.WatchLeaderResponse
	watching int
	// initial is what a watch is sent first, if anything.
	initial *rotav1.WatchLeaderResponse
	// true leaders refuse a worker that has heard of a higher term.
	refuseHigher bool
}

func newDouble(t testing.TB) *double {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	d := &double{
		addr: l.Addr().String(), server: grpc.NewServer(wire.ServerOptions()...),
		term: 1, lease: 5 * time.Second, reports: map[attempt][]noted{},
		progress: make(chan struct{}, 1),
		leaders:  make(chan *rotav1.WatchLeaderResponse, 16),
	}
	rotav1.RegisterWorkerServiceServer(d.server, d)
	rotav1.RegisterClusterServiceServer(d.server, d)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = d.server.Serve(l)
	}()
	t.Cleanup(func() {
		d.server.Stop()
		<-served
	})
	return d
}

func (d *double) set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

func (d *double) Session(stream grpc.BidiStreamingServer[rotav1.SessionRequest, rotav1.SessionResponse]) error {
	m, err := stream.Recv()
	if err != nil {
		return err
	}
	h := m.GetHello()
	ctx, cut := context.WithCancel(stream.Context())
	defer cut()
	d.mu.Lock()
	d.hellos = append(d.hellos, h)
	if d.refuse != nil {
		defer d.mu.Unlock()
		return d.refuse
	}
	if d.refuseHigher && h.GetTerm() > d.term {
		defer d.mu.Unlock()
		return wire.ToStatus(task.Errorf(task.KindUnavailable, "there is a newer leader than this server"))
	}
	w := &rotav1.Welcome{SessionId: d.session, Lease: durationpb.New(d.lease), Term: d.term, Attached: h.GetSessionId() != 0 && h.GetSessionId() == d.session}
	if !w.GetAttached() {
		d.session++
		w.SessionId = d.session
	}
	if d.welcome != nil {
		d.welcome(h, w)
	}
	d.stream, d.cut = nil, cut
	d.mu.Unlock()
	if err := d.send(stream, &rotav1.SessionResponse{Message: &rotav1.SessionResponse_Welcome{Welcome: w}}); err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() {
		for {
			m, err := stream.Recv()
			if err == nil {
				err = d.heard(stream, m)
			}
			if err != nil {
				failed <- err
				return
			}
		}
	}()
	select {
	case <-ctx.Done():
		return wire.ToStatus(task.Errorf(task.KindUnavailable, "cut by the test"))
	case err := <-failed:
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
}

func (d *double) send(stream grpc.BidiStreamingServer[rotav1.SessionRequest, rotav1.SessionResponse], m *rotav1.SessionResponse) error {
	d.sending.Lock()
	defer d.sending.Unlock()
	return stream.Send(m)
}

func (d *double) heard(stream grpc.BidiStreamingServer[rotav1.SessionRequest, rotav1.SessionResponse], m *rotav1.SessionRequest) error {
	d.mu.Lock()
	var answer *rotav1.SessionResponse
	var again []*rotav1.Assignment
	switch m := m.GetMessage().(type) {
	case *rotav1.SessionRequest_Beat:
		d.beats = append(d.beats, m.Beat)
		// With its first beat the worker has accepted the welcome. What is sent to a
		// stream that it has given up is lost, and only true leaders send it again.
		if d.stream != stream {
			d.stream = stream
			again = d.unreported()
		}
		if !d.noBeats {
			term := d.term
			if d.beatTerm != 0 {
				term = d.beatTerm
			}
			answer = &rotav1.SessionResponse{Message: &rotav1.SessionResponse_BeatAnswer{BeatAnswer: &rotav1.BeatAnswer{Seq: m.Beat.GetSeq(), Term: term, Stop: d.stops}}}
		}
	case *rotav1.SessionRequest_Reports:
		d.seqs = append(d.seqs, m.Reports.GetSeq())
		for _, g := range m.Reports.GetGroups() {
			if !d.countOnly {
				d.note(g)
				continue
			}
			for _, r := range g.GetRanges() {
				d.counted.Add(int64(r.GetCount()))
			}
		}
		notify(d.progress)
		if !d.noReports {
			answer = &rotav1.SessionResponse{Message: &rotav1.SessionResponse_ReportsAnswer{ReportsAnswer: &rotav1.ReportsAnswer{Seq: m.Reports.GetSeq()}}}
		}
	case *rotav1.SessionRequest_Goodbye:
		d.goodbyes++
		answer = &rotav1.SessionResponse{Message: &rotav1.SessionResponse_GoodbyeAnswer{GoodbyeAnswer: &rotav1.GoodbyeAnswer{}}}
	}
	d.mu.Unlock()
	if answer != nil {
		if err := d.send(stream, answer); err != nil {
			return err
		}
	}
	if len(again) > 0 {
		return d.send(stream, assignments(again))
	}
	return nil
}

// unreported is the assignments of which nothing was reported. On a new stream they
// are sent again, as those may be that were lost with the old one.
func (d *double) unreported() []*rotav1.Assignment {
	if d.countOnly {
		return nil
	}
	var all []*rotav1.Assignment
	for _, a := range d.assigned {
		reported := false
		for i := a.GetRange().GetFirst(); i < a.GetRange().GetFirst()+a.GetRange().GetCount(); i++ {
			reported = reported || len(d.reports[attempt{a.GetJobId(), i, uint64(int64(i) + a.GetTokenOffset())}]) > 0
		}
		if !reported {
			all = append(all, a)
		}
	}
	return all
}

func assignments(list []*rotav1.Assignment) *rotav1.SessionResponse {
	return &rotav1.SessionResponse{Message: &rotav1.SessionResponse_Assignments{Assignments: &rotav1.Assignments{Assignments: list}}}
}

func (d *double) note(g *rotav1.ReportGroup) {
	packed, usages := g.GetPackedOutputs(), g.GetPackedUsage()
	for _, r := range g.GetRanges() {
		for i := r.GetFirst(); i < r.GetFirst()+r.GetCount(); i++ {
			var output []byte
			if len(g.GetPackedOutputs()) > 0 {
				output, packed, _ = task.PackNext(packed)
			}
			var usage []byte
			usage, usages, _ = task.PackNext(usages)
			a := attempt{g.GetJobId(), i, uint64(int64(i) + g.GetTokenOffset())}
			d.reports[a] = append(d.reports[a], noted{
				outcome: g.GetOutcome(), reason: g.GetReason(), exit: g.ExitCode, err: g.GetError(),
				stderr: string(g.GetStderrTail()), output: string(output), permanent: g.GetPermanent(), usage: task.ParseUsage(usage),
				missing: g.GetOutputMissing(), head: g.GetOutputHead(),
			})
		}
	}
}

func (d *double) WatchLeader(_ *rotav1.WatchLeaderRequest, stream grpc.ServerStreamingServer[rotav1.WatchLeaderResponse]) error {
	var initial *rotav1.WatchLeaderResponse
	d.set(func() { d.watching++; initial = d.initial })
	if initial != nil {
		if err := stream.Send(initial); err != nil {
			return err
		}
	}
	defer d.set(func() { d.watching-- })
	for {
		select {
		case m := <-d.leaders:
			if err := stream.Send(m); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return nil
		}
	}
}

// tell sends a message on the open stream.
func (d *double) tell(t testing.TB, m *rotav1.SessionResponse) {
	t.Helper()
	eventually(t, "a message is sent", func() bool {
		d.mu.Lock()
		stream := d.stream
		d.mu.Unlock()
		return stream != nil && d.send(stream, m) == nil
	})
}

func (d *double) assign(t testing.TB, list ...*rotav1.Assignment) {
	t.Helper()
	d.tell(t, assignments(list))
	d.set(func() { d.assigned = append(d.assigned, list...) })
}

func (d *double) stop(t testing.TB, tasks ...*rotav1.HeldTasks) {
	t.Helper()
	d.tell(t, &rotav1.SessionResponse{Message: &rotav1.SessionResponse_Stop{Stop: &rotav1.Stop{Tasks: tasks}}})
}

// breakStream ends the open stream, and waits for a new one.
func (d *double) breakStream(t testing.TB) {
	t.Helper()
	d.mu.Lock()
	n := len(d.hellos)
	d.cut()
	d.stream = nil
	d.mu.Unlock()
	eventually(t, "the worker came back", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.hellos) > n
	})
}

// of returns what was reported of a task.
func (d *double) of(job uint64, index uint32) []noted {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []noted
	for a, r := range d.reports {
		if a.job == job && a.index == index {
			all = append(all, r...)
		}
	}
	return all
}

// await waits for the report of a task and returns it.
func (d *double) await(t testing.TB, job uint64, index uint32) noted {
	t.Helper()
	eventually(t, "a report", func() bool { return len(d.of(job, index)) > 0 })
	return d.of(job, index)[0]
}

func (d *double) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, r := range d.reports {
		n += len(r)
	}
	return n
}

// bundle is a worker at a double.
type bundle struct {
	*double
	worker *Worker
	end    context.CancelFunc
	done   chan error
}

// setup runs a worker until the test ends.
func setup(t testing.TB, cfg Config, prepare ...func(*double)) *bundle {
	t.Helper()
	d := newDouble(t)
	for _, f := range prepare {
		f(d)
	}
	b := &bundle{double: d, done: make(chan error, 1)}
	cfg.Addrs = append(slices.Clone(cfg.Addrs), d.addr)
	b.worker, b.end = run1(t, cfg, b.done)
	return b
}

func run1(t testing.TB, cfg Config, done chan error) (*Worker, context.CancelFunc) {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
		if os.Getenv("ROTA_TEST_LOG") != "" {
			cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
		}
	}
	if cfg.StopTimeout == 0 {
		cfg.StopTimeout = -1
	}
	w, err := New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		done <- w.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(deadline):
			t.Error("the worker does not end")
		}
	})
	return w, cancel
}

// handlerWork is an assignment of tasks first to first+count-1 of a job.
func handlerWork(job uint64, first, count uint32, handler string) *rotav1.Assignment {
	return &rotav1.Assignment{
		JobId: job, Range: &rotav1.IndexRange{First: first, Count: count}, TokenOffset: int64(1000 * job), Attempt: 1,
		Work: &rotav1.WorkSpec{Work: &rotav1.WorkSpec_Handler{Handler: &rotav1.HandlerWork{Name: handler}}, JobName: "test", Queue: "default"},
	}
}

func commandWork(job uint64, argv ...string) *rotav1.Assignment {
	a := handlerWork(job, 0, 1, "")
	a.Work.Work = &rotav1.WorkSpec_Command{Command: &rotav1.CommandWork{Argv: argv}}
	return a
}

func held(job uint64, first, count uint32) *rotav1.HeldTasks {
	return &rotav1.HeldTasks{JobId: job, TokenOffset: int64(1000 * job), Ranges: []*rotav1.IndexRange{{First: first, Count: count}}}
}
