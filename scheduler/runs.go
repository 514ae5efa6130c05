package scheduler

import (
	"maps"
	"math"
	"time"
)

// Run is the time that tasks of one job took on a worker, all together.
type Run struct {
	Job   uint64
	Count int
	Total time.Duration
}

const (
	// smoothing is the weight of a new run time against what is known.
	smoothing = 0.3
	// minKnownRun is how many tasks must have ended before the run time of a job counts as known. Jobs of a
	// few tasks end before it could be of use.
	minKnownRun = 8
	// knownRun is the weight, in tasks, of what is known of a job beside a new report. One task that was
	// held up for a moment must not count like thousands. One that takes a second still makes the
	// average longer than any share is worth.
	knownRun = 64
	// maxRun bounds the run time that a worker reports: sums must not overflow, or long tasks would count as
	// short ones.
	maxRun = 30 * 24 * time.Hour
	// maxKnownRuns bounds the jobs whose run time is known, maxYoungRuns those whose run time is being
	// learnt.
	maxKnownRuns, maxYoungRuns = 256, 64
)

// smooth is a run time after another one was seen; 0: nothing is known.
func smooth(run, each time.Duration) time.Duration {
	switch {
	case run == 0:
		return each
	case each > run:
		// Tasks that turn long must not go on queueing behind each other.
		return (run + each) / 2
	default:
		return run + time.Duration(smoothing*float64(each-run))
	}
}

// each is the average of Count tasks, which is at least one.
func (r Run) each() time.Duration { return max(r.Total/time.Duration(r.Count), 1) }

// bounded is Total, as far as it counts.
func (r Run) bounded() time.Duration { return min(max(r.Total, 0), maxRun) }

// Ran notes what tasks of a session took.
func (f *Fleet) Ran(session uint64, runs ...Run) {
	all := Run{}
	for _, r := range runs {
		all.Count, all.Total = all.Count+r.Count, min(all.Total+r.bounded(), maxRun)
	}
	if all.Count <= 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.member(session)
	if m == nil {
		return
	}
	m.run, f.run = smooth(m.run, all.each()), smooth(f.run, all.each())
	m.pause = 0 // what it gives back it would not have reached, and it gets on
	for _, r := range runs {
		if r.Count <= 0 {
			continue
		}
		r.Total = r.bounded()
		known := f.jobs[r.Job]
		if known == 0 {
			if r = f.learn(r); r.Count < minKnownRun {
				continue
			}
			if len(f.jobs) >= maxKnownRuns {
				f.forgetOne()
			}
			f.jobs[r.Job] = r.each()
			continue
		}
		f.jobs[r.Job] = Run{Count: knownRun + r.Count, Total: knownRun*known + r.Total}.each()
	}
}

// learn adds up what tasks of a job took of which too few have ended yet: thousands of
// workers report one or two each at first.
func (f *Fleet) learn(r Run) Run {
	young := f.young[r.Job]
	r.Count, r.Total = r.Count+young.Count, r.Total+young.Total
	if r.Count >= minKnownRun {
		delete(f.young, r.Job)
		return r
	}
	// Many jobs of a few tasks each: none of them comes to be known. A large one among them
	// has the next of its reports soon enough.
	if len(f.young) >= maxYoungRuns {
		clear(f.young)
	}
	f.young[r.Job] = r
	return r
}

// forgetOne makes room for the run time of another job: the oldest job's is of the least use.
func (f *Fleet) forgetOne() {
	oldest := uint64(math.MaxUint64)
	for id := range f.jobs {
		oldest = min(oldest, id)
	}
	delete(f.jobs, oldest)
}

// Runs returns, by job, how long its tasks take, as far as that is known.
func (f *Fleet) Runs() map[uint64]time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.jobs)
}
