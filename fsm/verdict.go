package fsm

import (
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// Exception is a run of reported tasks that were not recorded, and why. The token of task i
// is i + TokenOffset.
type Exception struct {
	Job          uint64
	First, Count uint32
	TokenOffset  int64
	Verdict      Verdict
}

// Verdict is what became of a report.
type Verdict uint8

// The verdicts. Every one is final for the worker.
const (
	Recorded   Verdict = 1
	Already    Verdict = 2 // a report of this attempt was recorded before, and ended the task
	Superseded Verdict = 3 // another attempt has taken its place, another session has this one, or the servers have ended it
	Unknown    Verdict = 4 // there is no such task
)

// onDisk stands for the verdict where the disk has to tell it.
const onDisk Verdict = 0

// Excepted is how many tasks exceptions are about.
func Excepted(exceptions []Exception) (n int) {
	for _, e := range exceptions {
		n += int(e.Count)
	}
	return n
}

// verdicts goes through one group of a report, and notes the tasks that its session does not
// hold, in runs: a group may name tens of thousands in a few bytes.
type verdicts struct {
	m       *Machine
	session uint64
	g       *logpb.ReportGroup
	// j is the job; nil: it is not in memory.
	j    *job
	runs []Exception
}

func (m *Machine) newVerdicts(session uint64, g *logpb.ReportGroup) verdicts {
	return verdicts{m: m, session: session, g: g, j: m.jobs[g.Job]}
}

// sort calls held for runs of tasks that the session holds under their tokens of the group, and
// notes the others, for runs of which it calls other, all in the order of the group.
func (v *verdicts) sort(held, other func(first, count uint32)) {
	for _, rg := range v.g.Ranges {
		for i, end := rg.First, rg.First+rg.Count; i < end; {
			n := v.held(i, end)
			if n > 0 {
				held(i, n)
				i += n
				continue
			}
			n = v.alike(i, end)
			v.note(i, n)
			other(i, n)
			i += n
		}
	}
}

// whole says whether the session holds all tasks of the group, as it does of nearly every report,
// and how many these are.
func (v *verdicts) whole() (count int, all bool) {
	for _, rg := range v.g.Ranges {
		if v.held(rg.First, rg.First+rg.Count) < rg.Count {
			return 0, false
		}
		count += int(rg.Count)
	}
	return count, true
}

// held returns how many tasks from i on, before end, the session holds under their tokens, up to
// the first that it does not.
func (v *verdicts) held(i, end uint32) (n uint32) {
	if v.j == nil {
		return 0
	}
	for end = min(end, v.j.total); i+n < end; n++ {
		if s, _ := v.j.slot(i + n); s == nil || !s.heldBy(v.session, int64(i+n)+v.g.TokenOffset) {
			break
		}
	}
	return n
}

// alike returns how many tasks from i on, before end, there is one verdict on, of which the first is
// not held: those that have no slots, for one reason, or one that has.
func (v *verdicts) alike(i, end uint32) (n uint32) {
	if v.j == nil || i >= v.j.total {
		return end - i
	}
	if s, _ := v.j.slot(i); s != nil {
		return 1
	}
	return min(end, v.j.total, (i/pageSize+1)*pageSize) - i
}

// note notes count tasks from i on, which are alike.
func (v *verdicts) note(i, count uint32) {
	v.runs = appendException(v.runs, Exception{Job: v.g.Job, First: i, Count: count, TokenOffset: v.g.TokenOffset, Verdict: v.on(i)})
}

// on is the verdict on an attempt at task i that is not under way, or not the session's.
func (v *verdicts) on(i uint32) Verdict {
	j := v.j
	switch {
	case j == nil:
		if _, gone := v.m.collected[v.g.Job]; gone {
			return Unknown
		}
		return onDisk
	case i >= j.total:
		return Unknown
	}
	s, done := j.slot(i)
	switch {
	case done:
		return onDisk
	case s == nil || !s.state.Final():
		return Superseded
	case s.token == 0 && j.onDisk(uint32(s.at)):
		// It was loaded from there, without its token, or never had one.
		return onDisk
	default:
		return verdictOn(int64(i)+v.g.TokenOffset, int64(s.token), s.token != 0 && !s.unreported)
	}
}

// verdictOn is that on an attempt under token at a task whose last one was under last. reported says
// that its worker ended it: what the servers have ended takes no report, and nobody must believe that
// his was taken.
func verdictOn(token, last int64, reported bool) Verdict {
	if reported && last == token {
		return Already
	}
	return Superseded
}

// asker is History.Tokens, for those whose disk may fail.
type asker func(job uint64, tasks []task.Range, f func(task.Range, LastToken)) error

// settle appends what was noted to exceptions. What only the disk can tell, it asks in one
// go: workers that come back report thousands late, and what was a read of the disk for
// each would keep Apply busy for seconds.
func (v *verdicts) settle(exceptions []Exception, ask asker) ([]Exception, error) {
	var asked []task.Range
	for _, e := range v.runs {
		if e.Verdict == onDisk {
			asked = append(asked, task.Range{First: e.First, Count: e.Count})
		}
	}
	told, err := askDisk(v.g.Job, v.g.TokenOffset, asked, ask)
	if err != nil {
		return nil, err
	}
	for _, e := range v.runs {
		if e.Verdict != onDisk {
			exceptions = appendException(exceptions, e)
			continue
		}
		for left := e.Count; left > 0; told = told[1:] {
			exceptions = appendException(exceptions, told[0])
			left -= told[0].Count
		}
	}
	return exceptions, nil
}

// askDisk returns the verdicts on tasks of a job that only the disk can tell. It is no method: what
// ask is given would take v along, to the heap, with every report.
func askDisk(job uint64, offset int64, asked []task.Range, ask asker) ([]Exception, error) {
	if len(asked) == 0 {
		return nil, nil
	}
	var told []Exception
	err := ask(job, asked, func(of task.Range, last LastToken) {
		verdict := Unknown
		if last.Known {
			verdict = verdictOn(offset, last.TokenOffset, last.Granted && !last.Unreported)
		}
		told = append(told, Exception{Job: job, First: of.First, Count: of.Count, TokenOffset: offset, Verdict: verdict})
	})
	return told, err
}

// appendException appends e to a list, or makes its last run longer.
func appendException(list []Exception, e Exception) []Exception {
	if n := len(list); n > 0 {
		last := &list[n-1]
		if last.Job == e.Job && last.First+last.Count == e.First && last.TokenOffset == e.TokenOffset && last.Verdict == e.Verdict {
			last.Count += e.Count
			return list
		}
	}
	return append(list, e)
}
