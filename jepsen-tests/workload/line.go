package workload

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/internal/ticks"
	"github.com/rota-scheduler/rota/jepsen-tests/cluster"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
	"github.com/rota-scheduler/rota/task"
)

// helloTimeout bounds the wait for a welcome.
const helloTimeout = 2 * time.Second

// The outcomes and verdicts as they stand in a history.
const (
	outcomeSucceeded = "succeeded"
	outcomeFailed    = "failed"
	outcomeStopped   = "stopped"
)

var (
	outcomes = map[string]rotav1.Outcome{
		outcomeSucceeded: rotav1.Outcome_OUTCOME_SUCCEEDED, outcomeFailed: rotav1.Outcome_OUTCOME_FAILED, outcomeStopped: rotav1.Outcome_OUTCOME_STOPPED,
	}
	verdicts = map[rotav1.ReportVerdict]string{
		rotav1.ReportVerdict_REPORT_VERDICT_RECORDED: "recorded", rotav1.ReportVerdict_REPORT_VERDICT_ALREADY: "already",
		rotav1.ReportVerdict_REPORT_VERDICT_SUPERSEDED: "superseded", rotav1.ReportVerdict_REPORT_VERDICT_UNKNOWN: "unknown",
	}
)

// line is a stream between a process and the leader.
type line struct {
	process *process
	server  *cluster.Server
	conn    *cluster.Conn
	stream  grpc.BidiStreamingClient[rotav1.SessionRequest, rotav1.SessionResponse]
	cancel  context.CancelFunc
	// done is closed when nothing comes any more.
	done chan struct{}

	mu    sync.Mutex
	seq   uint64
	beats map[uint64]int64
	// answers is those that are waited for.
	answers map[uint64]chan *rotav1.ReportsAnswer
}

// attach says hello to a server, and names what the process holds.
func (p *process) attach(ctx context.Context, server *cluster.Server) (*line, error) {
	conn, err := server.Dial(p.agent.host)
	if err != nil {
		return nil, err
	}
	l := &line{
		process: p, server: server, conn: conn, done: make(chan struct{}),
		beats: map[uint64]int64{}, answers: map[uint64]chan *rotav1.ReportsAnswer{},
	}
	ctx, l.cancel = context.WithCancel(ctx)
	impatience := time.AfterFunc(helloTimeout, l.cancel)
	defer impatience.Stop()
	welcome, err := l.greet(ctx)
	if err != nil {
		l.cancel()
		_ = conn.Close()
		return nil, err
	}
	if welcome.GetSessionId() != p.session {
		// What the session before held is lost with it.
		lost := p.lose()
		p.mu.Lock()
		p.late = append(p.late, lost...)
		p.mu.Unlock()
	}
	p.session, p.lease = welcome.GetSessionId(), welcome.GetLease().AsDuration()
	go l.read()
	return l, nil
}

// greet says hello, and records what a leader answers.
func (l *line) greet(ctx context.Context) (*rotav1.Welcome, error) {
	p := l.process
	var err error
	if l.stream, err = l.conn.Workers.Session(ctx); err != nil {
		return nil, err
	}
	said := history.Session{Worker: p.agent.name, Process: p.name(), Sent: p.agent.pool.env.Recorder.Elapsed(), Replaces: p.replaces}
	p.greeted = cmp.Or(p.greeted, said.Sent)
	said.First = p.greeted
	hello := &rotav1.Hello{
		WorkerId: p.agent.name, Name: p.agent.name, BootNonce: p.nonce, SessionId: p.session, Replaces: p.replaces, ReplacesNonce: p.proof, Slots: agentSlots,
		Handlers: []string{agentHandler}, Held: p.heldTasks(),
	}
	// When Send fails, Recv has the reason.
	_ = l.stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Hello{Hello: hello}})
	m, err := l.stream.Recv()
	if isKind(err, task.KindConflict) {
		said.Refused = true
		p.agent.note(history.FSession, said)
	}
	if err != nil {
		return nil, err
	}
	welcome := m.GetWelcome()
	if welcome.GetSessionId() == 0 || welcome.GetLease().AsDuration() <= 0 {
		return nil, fmt.Errorf("%s welcomed %s without a session", l.server.Name, p.agent.name)
	}
	said.Session, said.Attached, said.LeaseNs = welcome.GetSessionId(), welcome.GetAttached(), welcome.GetLease().AsDuration().Nanoseconds()
	p.agent.note(history.FSession, said)
	return welcome, nil
}

func (p *process) heldTasks() []*rotav1.HeldTasks {
	p.mu.Lock()
	defer p.mu.Unlock()
	var held []*rotav1.HeldTasks
	for _, a := range p.held {
		held = append(held, &rotav1.HeldTasks{
			JobId: a.job, TokenOffset: int64(a.token) - int64(a.index), Ranges: []*rotav1.IndexRange{{First: a.index, Count: 1}},
		})
	}
	return held
}

func (l *line) close() {
	l.cancel()
	<-l.done
	_ = l.conn.Close()
}

// read takes what the leader says until the stream ends.
func (l *line) read() {
	defer func() {
		l.cancel()
		close(l.done)
	}()
	for {
		m, err := l.stream.Recv()
		if err != nil {
			return
		}
		switch m := m.GetMessage().(type) {
		case *rotav1.SessionResponse_Assignments:
			for _, a := range m.Assignments.GetAssignments() {
				l.process.assigned(a)
			}
		case *rotav1.SessionResponse_ReportsAnswer:
			l.answered(m.ReportsAnswer)
		case *rotav1.SessionResponse_BeatAnswer:
			l.beaten(m.BeatAnswer)
		case *rotav1.SessionResponse_Stop:
			l.process.stop(m.Stop.GetTasks())
		}
	}
}

// send sends a message. A Send that fails shows as the end of the stream.
func (l *line) send(m *rotav1.SessionRequest) {
	_ = l.stream.Send(m)
}

// beat says that the worker lives, and holds tasks that must not overlap: such a beat is
// answered by a leader that still leads, and by no other.
func (l *line) beat() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	l.beats[l.seq] = l.process.agent.pool.env.Recorder.Elapsed()
	l.send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Beat{Beat: &rotav1.Beat{Seq: l.seq, Exclusive: true}}})
}

func (l *line) beaten(m *rotav1.BeatAnswer) {
	l.mu.Lock()
	sent, ok := l.beats[m.GetSeq()]
	delete(l.beats, m.GetSeq())
	l.mu.Unlock()
	if ok {
		l.process.agent.note(history.FBeat, history.Beat{Worker: l.process.agent.name, Session: l.process.session, Sent: sent})
	}
	l.process.stop(m.GetStop())
}

// report reports the end of an attempt and waits for the verdict; known is false if the stream ended before.
func (l *line) report(r history.Report) (verdict string, known bool) {
	pool := l.process.agent.pool
	r.Worker = l.process.agent.name
	op := history.Op{Type: history.Invoke, F: history.FReport, Process: firstReport + int(pool.reports.Add(1)), Node: r.Worker}
	group := &rotav1.ReportGroup{
		JobId: r.Job, TokenOffset: int64(r.Token) - int64(r.Index), Ranges: []*rotav1.IndexRange{{First: r.Index, Count: 1}}, Outcome: outcomes[r.Outcome],
		Permanent: r.Permanent, RunNs: int64(time.Millisecond), PackedOutputs: task.PackAppend(nil, fence(r.Token)),
	}
	if r.Outcome == outcomeFailed {
		group.Reason, group.Error = rotav1.Reason_REASON_ERROR, "as it was told to"
	}
	answer := make(chan *rotav1.ReportsAnswer, 1)
	l.mu.Lock()
	l.seq++
	l.answers[l.seq] = answer
	pool.env.Recorder.Record(op, r)
	l.send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Reports{Reports: &rotav1.Reports{Seq: l.seq, Groups: []*rotav1.ReportGroup{group}}}})
	l.mu.Unlock()
	op.Type = history.OK
	select {
	case m := <-answer:
		verdict = VerdictOf(m, r)
	case <-l.done:
		op.Type = history.Info
	}
	pool.env.Recorder.Record(op, history.Reported{Verdict: verdict})
	return verdict, verdict != ""
}

// fence is the output of an attempt: under which token it was made.
func fence(token uint64) []byte { return fmt.Appendf(nil, "%s%d", history.Fence, token) }

// VerdictOf is what an answer says of a report, as the history has it.
func VerdictOf(m *rotav1.ReportsAnswer, r history.Report) string {
	for _, e := range m.GetExceptions() {
		if e.GetJobId() == r.Job && e.GetIndex() == r.Index && e.GetToken() == r.Token {
			return verdicts[e.GetVerdict()]
		}
	}
	return verdicts[rotav1.ReportVerdict_REPORT_VERDICT_RECORDED]
}

func (l *line) answered(m *rotav1.ReportsAnswer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if answer := l.answers[m.GetSeq()]; answer != nil {
		answer <- m
		delete(l.answers, m.GetSeq())
	}
}

// longestAttempt bounds what an attempt takes.
const longestAttempt = 150 * time.Millisecond

// assigned begins the attempts of an assignment. What is held already was sent again.
func (p *process) assigned(m *rotav1.Assignment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := m.GetRange().GetFirst(); i < m.GetRange().GetFirst()+m.GetRange().GetCount(); i++ {
		a := &attempt{agentTask: agentTask{m.GetJobId(), i}, number: m.GetAttempt(), token: uint64(int64(i) + m.GetTokenOffset())}
		if p.held[a.token] != nil {
			continue
		}
		p.held[a.token] = a
		p.agent.note(history.FGrant, history.Grant{
			Worker: p.agent.name, Session: p.session, Job: a.job, Index: a.index, Attempt: a.number, Token: a.token,
		})
		p.agent.pool.saw(a.agentTask, a.token)
		if p.ctx.Err() == nil {
			p.work.Go(func() { p.try(a) })
		}
	}
}

func (p *process) stop(tasks []*rotav1.HeldTasks) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range tasks {
		for _, r := range t.GetRanges() {
			for i := r.GetFirst(); i < r.GetFirst()+r.GetCount(); i++ {
				if a := p.held[uint64(int64(i)+t.GetTokenOffset())]; a != nil {
					a.stopped.Store(true)
				}
			}
		}
	}
}

// try is one attempt: it takes a while, and is reported until it has a verdict.
func (p *process) try(a *attempt) {
	if !ticks.Sleep(p.ctx, time.Duration(p.agent.upTo(int64(longestAttempt)))) {
		return
	}
	r := history.Report{Job: a.job, Index: a.index, Token: a.token, Outcome: outcomeSucceeded}
	honest := p.agent.pool.honest.Load()
	switch {
	case a.stopped.Load():
		r.Outcome = outcomeStopped
	case honest:
	case p.agent.chance(3):
		r.Outcome, r.Permanent = outcomeFailed, p.agent.chance(12)
	}
	for !a.lost.Load() {
		p.mu.Lock()
		l, attached := p.line, p.attached
		p.mu.Unlock()
		if l == nil {
			select {
			case <-attached:
				continue
			case <-p.ctx.Done():
				return
			}
		}
		if !honest {
			p.lie(l, a)
		}
		if a.lost.Load() || p.stalled.Load() {
			return
		}
		if _, known := l.report(r); !known {
			<-l.done
			// The process may hold it still, and says so with its next hello.
			if !ticks.Sleep(p.ctx, attachPause) {
				return
			}
			continue
		}
		p.mu.Lock()
		delete(p.held, a.token)
		p.mu.Unlock()
		if !honest && p.agent.chance(5) {
			r.Outcome, r.Permanent, r.Why = outcomeSucceeded, false, "twice"
			l.report(r)
		}
		return
	}
}

// lie reports, now and then, the task of an attempt under a token that is not its own.
func (p *process) lie(l *line, a *attempt) {
	r := history.Report{Job: a.job, Index: a.index, Outcome: outcomeSucceeded}
	switch old := p.agent.pool.older(a.agentTask, a.token); {
	case old > 0 && p.agent.chance(3):
		r.Token, r.Why = old, "old-token"
	case p.agent.chance(20):
		r.Token, r.Why = a.token+tokensAhead, "unknown-token"
	default:
		return
	}
	l.report(r)
}

// tokensAhead is so far beyond the tokens of a run that none of its tasks gets there.
const tokensAhead = 1_000_000_000
