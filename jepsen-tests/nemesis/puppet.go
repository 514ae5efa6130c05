package nemesis

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
	"github.com/rota-scheduler/rota/jepsen-tests/network"
	"github.com/rota-scheduler/rota/jepsen-tests/workload"
)

const (
	// puppetSlots is how many tasks a puppet runs at a time: more than it is ever given.
	puppetSlots = 8
	// puppetWelcome bounds the wait for a welcome.
	puppetWelcome = 2 * time.Second
	// puppetBeats is how many beats it sends in a lease.
	puppetBeats = 6
)

// puppet is one session of a worker that does nothing but hold what it is given. It beats, and says that all of it
// runs. If it is honest, it reports the success of each task.
type puppet struct {
	h       *harm
	name    string
	handler string
	conn    *cluster.Conn
	stream  grpc.BidiStreamingClient[rotav1.SessionRequest, rotav1.SessionResponse]
	session uint64
	lease   time.Duration
	honest  bool
	cancel  context.CancelFunc
	// parts is its beats and reports.
	parts sync.WaitGroup
	// done is closed when the stream has ended.
	done chan struct{}

	mu  sync.Mutex
	seq uint64
	// beats is when those were sent that are not answered.
	beats map[uint64]int64
	// held is what it was given and has not reported, in order.
	held []heldByPuppet
	all  int
	// answers is the reports that wait for theirs.
	answers map[uint64]chan *rotav1.ReportsAnswer
}

// heldByPuppet is a task under a token, and since when.
type heldByPuppet struct {
	history.Grant
	since time.Time
}

// attachPuppet opens a session at a server.
func attachPuppet(ctx context.Context, h *harm, s *cluster.Server, host *network.Host, name string, honest bool, handlers []string) (*puppet, error) {
	conn, err := s.Dial(host)
	if err != nil {
		return nil, err
	}
	p := &puppet{
		h: h, name: name, handler: handlers[0], honest: honest, conn: conn, done: make(chan struct{}),
		beats: map[uint64]int64{}, answers: map[uint64]chan *rotav1.ReportsAnswer{},
	}
	ctx, p.cancel = context.WithCancel(ctx)
	impatience := time.AfterFunc(puppetWelcome, p.cancel)
	defer impatience.Stop()
	if err := p.greet(ctx, handlers); err != nil {
		p.cancel()
		_ = conn.Close()
		return nil, err
	}
	go p.read()
	p.parts.Go(p.beat)
	return p, nil
}

// greet says hello, and records the welcome.
func (p *puppet) greet(ctx context.Context, handlers []string) (err error) {
	if p.stream, err = p.conn.Workers.Session(ctx); err != nil {
		return err
	}
	nonce := make([]byte, 8)
	// It never fails. A seed does not repeat this nonce.
	_, _ = rand.Read(nonce)
	sent := p.h.recorder.Elapsed()
	hello := &rotav1.Hello{WorkerId: p.name, Name: p.name, BootNonce: nonce, Slots: puppetSlots, Handlers: handlers}
	// When Send fails, Recv has the reason.
	_ = p.stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Hello{Hello: hello}})
	m, err := p.stream.Recv()
	if err != nil {
		return err
	}
	welcome := m.GetWelcome()
	if p.session, p.lease = welcome.GetSessionId(), welcome.GetLease().AsDuration(); p.session == 0 || p.lease <= 0 {
		return fmt.Errorf("%s was welcomed without a session", p.name)
	}
	p.note(history.FSession, history.Session{
		Worker: p.name, Process: hex.EncodeToString(nonce), Sent: sent, First: sent, Session: p.session, LeaseNs: p.lease.Nanoseconds(),
	})
	return nil
}

func (p *puppet) note(f history.F, value any) { p.h.recorder.Note(history.Nemesis, f, p.name, value) }

// close ends the stream, and with it whatever waits for it.
func (p *puppet) close() {
	p.cancel()
	<-p.done
	p.parts.Wait()
	_ = p.conn.Close()
}

// read takes what the leader says until the stream ends.
func (p *puppet) read() {
	defer func() {
		p.cancel()
		close(p.done)
	}()
	for {
		m, err := p.stream.Recv()
		if err != nil {
			return
		}
		switch m := m.GetMessage().(type) {
		case *rotav1.SessionResponse_Assignments:
			for _, a := range m.Assignments.GetAssignments() {
				p.assigned(a)
			}
		case *rotav1.SessionResponse_BeatAnswer:
			p.beaten(m.BeatAnswer.GetSeq())
		case *rotav1.SessionResponse_ReportsAnswer:
			p.answered(m.ReportsAnswer)
		}
	}
}

func (p *puppet) assigned(m *rotav1.Assignment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := m.GetRange().GetFirst(); i < m.GetRange().GetFirst()+m.GetRange().GetCount(); i++ {
		g := history.Grant{
			Worker: p.name, Session: p.session, Job: m.GetJobId(), Index: i, Attempt: m.GetAttempt(), Token: uint64(int64(i) + m.GetTokenOffset()),
		}
		p.note(history.FGrant, g)
		p.held = append(p.held, heldByPuppet{g, time.Now()})
		p.all++
	}
	if p.honest {
		p.parts.Go(p.reportAll)
	}
}

// given is how many tasks it was given.
func (p *puppet) given() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all
}

// beat beats until the stream ends. A beat for exclusive tasks is answered by a leader that still
// leads, and by no other.
func (p *puppet) beat() {
	every := time.NewTicker(p.lease / puppetBeats)
	defer every.Stop()
	for {
		p.beatOnce()
		select {
		case <-every.C:
		case <-p.done:
			return
		}
	}
}

func (p *puppet) beatOnce() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seq++
	beat := &rotav1.Beat{Seq: p.seq, Exclusive: true}
	for _, g := range p.held[:min(len(p.held), puppetSlots)] {
		beat.Running = append(beat.Running, &rotav1.RunningTask{JobId: g.Job, Index: g.Index, RunTime: durationpb.New(time.Since(g.since))})
	}
	p.beats[p.seq] = p.h.recorder.Elapsed()
	// A Send that fails shows as the end of the stream.
	_ = p.stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Beat{Beat: beat}})
}

func (p *puppet) beaten(seq uint64) {
	p.mu.Lock()
	sent, ok := p.beats[seq]
	delete(p.beats, seq)
	p.mu.Unlock()
	if ok {
		p.note(history.FBeat, history.Beat{Worker: p.name, Session: p.session, Sent: sent})
	}
}

// reportAll reports the success of all that it holds, and waits for the verdicts.
func (p *puppet) reportAll() {
	p.mu.Lock()
	held := p.held
	p.held = nil
	p.mu.Unlock()
	for _, g := range held {
		p.report(g.Grant)
	}
}

func (p *puppet) report(g history.Grant) {
	in := history.Report{Worker: p.name, Job: g.Job, Index: g.Index, Token: g.Token, Outcome: "succeeded"}
	if !p.honest {
		in.Why = "late"
	}
	called(p.h, history.FReport, in, func() (out history.Reported, err error) {
		select {
		case m := <-p.sendReport(g):
			return history.Reported{Verdict: workload.VerdictOf(m, in)}, nil
		case <-p.done:
			return out, fmt.Errorf("the stream of %s has ended", p.name)
		}
	})
}

// sendReport sends the report of a task, and returns where its answer comes.
func (p *puppet) sendReport(g history.Grant) <-chan *rotav1.ReportsAnswer {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seq++
	answer := make(chan *rotav1.ReportsAnswer, 1)
	p.answers[p.seq] = answer
	group := &rotav1.ReportGroup{
		JobId: g.Job, TokenOffset: int64(g.Token) - int64(g.Index), Ranges: []*rotav1.IndexRange{{First: g.Index, Count: 1}},
		Outcome: rotav1.Outcome_OUTCOME_SUCCEEDED, RunNs: int64(time.Millisecond),
	}
	_ = p.stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Reports{Reports: &rotav1.Reports{Seq: p.seq, Groups: []*rotav1.ReportGroup{group}}}})
	return answer
}

func (p *puppet) answered(m *rotav1.ReportsAnswer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if answer := p.answers[m.GetSeq()]; answer != nil {
		answer <- m
		delete(p.answers, m.GetSeq())
	}
}
