package fsm

import "github.com/rota-scheduler/rota/fsm/logpb"

// verdicts notes the tasks of one group of a report that are not recorded, and why.
type verdicts struct {
	m *Machine
	r *Result
	g *logpb.ReportGroup
	// j is the job, nil where it is not in memory; finished: it is on disk then.
	j        *job
	finished bool
	// asked are the exceptions whose verdicts the disk knows, and tasks their tasks. It is
	// asked for all of them at once: workers that come back report thousands late, and what
	// was a read of the disk for each would keep Apply busy for seconds.
	asked []int
	tasks []uint32
}

func (m *Machine) newVerdicts(g *logpb.ReportGroup, r *Result) *verdicts {
	v := &verdicts{m: m, r: r, g: g, j: m.jobs[g.Job]}
	if v.j == nil {
		_, v.finished = m.finished(g.Job)
	}
	return v
}

// add notes task i.
func (v *verdicts) add(i uint32) {
	token := uint64(int64(i) + v.g.TokenOffset)
	verdict, onDisk := v.on(i, token)
	if onDisk {
		v.asked, v.tasks = append(v.asked, len(v.r.Exceptions)), append(v.tasks, i)
	}
	v.r.Exceptions = append(v.r.Exceptions, Exception{Job: v.g.Job, Index: i, Token: token, Verdict: verdict})
}

// close asks the disk for what was noted without a verdict.
func (v *verdicts) close() {
	if len(v.asked) == 0 {
		return
	}
	for n, last := range v.m.history.Tokens(v.g.Job, v.tasks) {
		e := &v.r.Exceptions[v.asked[n]]
		if e.Verdict = Unknown; last.Known {
			e.Verdict = verdictOn(e.Token, last.Token, last.Granted)
		}
	}
}

// on is the verdict on an attempt at task i that is not under way, or that the disk knows it.
func (v *verdicts) on(i uint32, token uint64) (verdict Verdict, onDisk bool) {
	j := v.j
	if j == nil {
		return Unknown, v.finished
	}
	if i >= j.total {
		return Unknown, false
	}
	s, done := j.slot(i)
	switch {
	case done:
		return Unknown, true
	case s == nil || !s.state.Final():
		return Superseded, false
	case s.token == 0 && j.onDisk(uint32(s.at)):
		// It was loaded from there, without its token, or never had one.
		return Unknown, true
	default:
		return verdictOn(token, s.token, s.token != 0), false
	}
}

// verdictOn is that on an attempt under token at a task that got its outcome under last, or
// by the servers, where it was not granted to anybody.
func verdictOn(token, last uint64, granted bool) Verdict {
	if granted && last == token {
		return Already
	}
	return Superseded
}
