package checker

import (
	"errors"
	"fmt"
	"time"

	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// view is a history, indexed for the checkers.
type view struct {
	ops   []history.Op
	end   int64
	setup history.Setup

	submits []history.Call[history.Submit, history.Submitted]
	cancels []history.Call[history.Cancel, history.Cancelled]
	tasks   []history.Call[history.Task, history.TaskRead]
	appends []history.Call[history.Append, history.Appended]
	reads   []history.Call[history.ReadJob, history.JobRead]
	streams []history.Call[history.StreamStart, history.Streamed]
	lists   []history.Call[history.List, history.Jobs]
	reports []history.Call[history.Report, history.Reported]
	stales  []history.Call[history.Stale, history.StaleRead]
	probes  []history.Call[history.Probe, history.Probed]
	saves   []history.Call[history.Save, history.Saved]

	phases  []history.Note[history.Phase]
	faults  []history.Note[history.Fault]
	heals   []history.Note[history.Fault]
	leaders []history.Note[history.Leader]
	exits   []history.Note[history.Exit]
	jobs    []history.Note[history.Jobs]
	results []history.Note[history.Results]
	digests []history.Note[history.Digests]
	ledger  []history.LedgerLine
	logs    []history.Note[history.Logs]

	grants   []history.Note[history.Grant]
	beats    []history.Note[history.Beat]
	sessions []history.Note[history.Session]
	silences []history.Note[history.Silent]
	mutes    []history.Note[history.Silent]
	samples  []history.Note[history.Sample]
	removed  []history.Note[history.Removed]
	workers  []history.Note[history.Workers]
	restored []history.Note[history.Restored]
}

// taskID is one task of one job.
type taskID struct {
	job   uint64
	index uint32
}

func (t taskID) String() string { return fmt.Sprintf("%d.%d", t.job, t.index) }

func newView(ops []history.Op) (*view, error) {
	v := &view{ops: ops}
	if len(ops) == 0 || ops[0].F != history.FSetup {
		return nil, errors.New("the history does not begin with its setup")
	}
	v.end = ops[len(ops)-1].Time
	setup, err := history.Decode[history.Setup](ops[0])
	if err != nil {
		return nil, err
	}
	v.setup = setup
	var ledgers []history.Note[history.Ledger]
	err = errors.Join(
		calls(ops, history.FSubmit, &v.submits), calls(ops, history.FCancel, &v.cancels), calls(ops, history.FTask, &v.tasks),
		calls(ops, history.FAppend, &v.appends), calls(ops, history.FRead, &v.reads), calls(ops, history.FStream, &v.streams),
		calls(ops, history.FList, &v.lists), calls(ops, history.FReport, &v.reports), calls(ops, history.FStale, &v.stales), calls(ops, history.FProbe, &v.probes),
		calls(ops, history.FSave, &v.saves), notes(ops, history.FRestored, &v.restored),
		notes(ops, history.FPhase, &v.phases), notes(ops, history.FFault, &v.faults), notes(ops, history.FHeal, &v.heals),
		notes(ops, history.FLeader, &v.leaders), notes(ops, history.FExit, &v.exits), notes(ops, history.FFinalJobs, &v.jobs),
		notes(ops, history.FFinalResults, &v.results), notes(ops, history.FDigest, &v.digests), notes(ops, history.FLedger, &ledgers),
		notes(ops, history.FLogs, &v.logs), notes(ops, history.FGrant, &v.grants), notes(ops, history.FBeat, &v.beats),
		notes(ops, history.FSession, &v.sessions), notes(ops, history.FSilent, &v.silences), notes(ops, history.FMute, &v.mutes), notes(ops, history.FSample, &v.samples), notes(ops, history.FRemoved, &v.removed), notes(ops, history.FWorkers, &v.workers),
	)
	for _, l := range ledgers {
		v.ledger = append(v.ledger, l.Value.Lines...)
	}
	return v, err
}

func calls[In, Out any](ops []history.Op, f history.F, into *[]history.Call[In, Out]) (err error) {
	*into, err = history.Calls[In, Out](ops, f)
	return err
}

func notes[T any](ops []history.Op, f history.F, into *[]history.Note[T]) (err error) {
	*into, err = history.Noted[T](ops, f)
	return err
}

// acknowledged says whether a submit made, or found, a job.
func acknowledged(c *history.Call[history.Submit, history.Submitted]) bool {
	return c.Type == history.OK && !c.Out.Conflict
}

// outcomes is how tasks ended, by the word of any server: S3 checks that they agree.
func (v *view) outcomes() map[taskID]history.Outcome {
	out := map[taskID]history.Outcome{}
	for _, server := range v.results {
		for _, j := range server.Value.Jobs {
			for _, o := range j.Outcomes {
				out[taskID{j.Job, o.Index}] = o
			}
		}
	}
	return out
}

// missing returns the servers without a final read.
func missing[T any](servers []string, reads []history.Note[T]) []string {
	seen := map[string]bool{}
	for _, r := range reads {
		seen[r.Op.Node] = true
	}
	var out []string
	for _, s := range servers {
		if !seen[s] {
			out = append(out, s)
		}
	}
	return out
}

// Counts counts the interesting things that happened.
type Counts struct {
	// Ops is the calls, Acks those that succeeded.
	Ops     int `json:"ops"`
	Acks    int `json:"acks"`
	Fails   int `json:"fails"`
	Infos   int `json:"infos"`
	Leaders int `json:"leader_changes"`
	Faults  int `json:"faults"`
	// Effective is the faults that did something.
	Effective int `json:"effective_faults"`
	Jobs      int `json:"jobs"`
	Results   int `json:"results"`
	// Retried is results of a second or later attempt.
	Retried int `json:"retried"`
	// Fenced is reports that were refused because another attempt had taken their place.
	Fenced int `json:"fenced"`
	// Recoveries is the time from each heal to the next acknowledged submit, ns.
	Recoveries []time.Duration `json:"recoveries_ns"`
}

func (v *view) counts() Counts {
	c := Counts{Faults: len(v.faults)}
	for _, op := range v.ops {
		if op.Process < 0 {
			continue
		}
		switch op.Type {
		case history.Invoke:
			c.Ops++
		case history.Fail:
			c.Fails++
		case history.Info:
			c.Infos++
		case history.OK:
			c.Acks++
		}
	}
	terms := map[uint64]bool{}
	for _, l := range v.leaders {
		terms[l.Value.Term] = true
	}
	c.Leaders = max(0, len(terms)-1)
	for _, h := range v.heals {
		if h.Value.Effect > 0 {
			c.Effective++
		}
	}
	for _, h := range v.recoveries(time.Duration(v.setup.RecoveryNs)) {
		if h.acked {
			c.Recoveries = append(c.Recoveries, h.took)
		}
	}
	for i := range v.reports {
		if v.reports[i].Out.Verdict == "superseded" {
			c.Fenced++
		}
	}
	for _, j := range v.jobs {
		c.Jobs = max(c.Jobs, len(j.Value.Jobs))
	}
	if len(v.results) > 0 {
		for _, j := range v.results[0].Value.Jobs {
			c.Results += len(j.Outcomes)
			for _, o := range j.Outcomes {
				if o.Attempt > 1 {
					c.Retried++
				}
			}
		}
	}
	return c
}
