package report

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// groupOverhead is what a group takes beside its texts and outputs, and rangeSize what a range
// takes, bytes: upper estimates, for the message and for memory.
const (
	groupOverhead = 96
	rangeSize     = 12
)

// group gathers results of one job that ended alike, until they become a report group of the wire.
type group struct {
	grant  Grant
	kind   Kind
	err    string
	stderr []byte
	// stderrMissing is how many bytes stood before stderr.
	stderrMissing uint64
	// ranges are the tasks, in order of their ends until the group is sealed; count is how many.
	ranges []task.Range
	count  int
	// outputs are packed in the order of ranges; nil: all of them are empty.
	outputs []byte
	// usage is what each task has used, packed in the same order; nil: nothing is known of any.
	usage   []byte
	runTime time.Duration
	// size is about what the group takes, bytes.
	size int
}

func newGroup(g Grant, res *Result) *group {
	return &group{
		grant: g, kind: res.Kind, err: res.Err, stderr: res.Stderr, stderrMissing: res.StderrMissing,
		size: groupOverhead + len(res.Err) + len(res.Stderr),
	}
}

// takes says whether a result may join the group, and there is room for it.
func (g *group) takes(of Grant, res *Result) bool {
	return g.grant == of && g.kind == res.Kind && g.err == res.Err && bytes.Equal(g.stderr, res.Stderr) && g.stderrMissing == res.StderrMissing &&
		g.size+len(res.Output)+rangeSize+maxVarint+1+task.MaxUsage <= maxMessage
}

// maxVarint is the longest length prefix of an output, bytes.
const maxVarint = 3

// append adds one result and returns by how much the group has grown.
func (g *group) append(index uint32, res *Result) int {
	before := g.size
	if len(res.Output) > 0 && g.outputs == nil {
		// The outputs before it are empty: a length of 0 each.
		g.outputs = make([]byte, g.count, g.count+len(res.Output)+maxVarint)
		g.size += g.count
	}
	if g.outputs != nil {
		n := len(g.outputs)
		g.outputs = task.PackAppend(g.outputs, res.Output)
		g.size += len(g.outputs) - n
	}
	g.use(res.Usage)
	g.runTime += res.RunTime
	g.push(task.Range{First: index, Count: 1})
	return g.size - before
}

// appendRange adds tasks without outputs and returns by how much the group has grown.
func (g *group) appendRange(r task.Range) int {
	before := g.size
	if g.outputs != nil {
		g.outputs = append(g.outputs, make([]byte, r.Count)...)
		g.size += int(r.Count)
	}
	if g.usage != nil {
		g.usage = append(g.usage, make([]byte, r.Count)...)
		g.size += int(r.Count)
	}
	g.push(r)
	return g.size - before
}

// use notes what the next task has used.
func (g *group) use(u task.Usage) {
	if u == (task.Usage{}) && g.usage == nil {
		return
	}
	before := len(g.usage)
	if g.usage == nil {
		// Nothing is known of the tasks before it: a length of 0 each.
		g.usage = make([]byte, g.count, g.count+8)
	}
	at := len(g.usage)
	g.usage = u.Append(append(g.usage, 0))
	g.usage[at] = byte(len(g.usage) - at - 1)
	g.size += len(g.usage) - before
}

func (g *group) push(r task.Range) {
	g.count += int(r.Count)
	if n := len(g.ranges); n > 0 && g.ranges[n-1].End() == r.First {
		g.ranges[n-1].Count += r.Count
		return
	}
	g.ranges = append(g.ranges, r)
	g.size += rangeSize
}

// seal makes the report group of the wire, with the tasks in order of their indexes. Slots that run
// side by side complete neighbours in any order; sorted, they are few ranges.
func (g *group) seal() *rotav1.ReportGroup {
	if len(g.ranges) > 1 {
		if g.outputs == nil && g.usage == nil {
			slices.SortFunc(g.ranges, byFirst)
		} else {
			g.sortWithOutputs()
		}
		g.ranges = mergeSorted(g.ranges)
	}
	m := &rotav1.ReportGroup{
		JobId:         g.grant.Job,
		TokenOffset:   g.grant.Offset,
		Ranges:        wire.RangesToProto(g.ranges),
		Outcome:       g.kind.Outcome,
		Reason:        g.kind.Reason,
		Error:         g.err,
		StderrTail:    g.stderr,
		StderrMissing: g.stderrMissing,
		PackedOutputs: g.outputs,
		PackedUsage:   g.usage,
		RunNs:         int64(g.runTime),
		Permanent:     g.kind.Permanent,
		OutputMissing: g.kind.Missing,
		OutputHead:    g.kind.Head,
	}
	if g.kind.HasExit {
		exit := g.kind.Exit
		m.ExitCode = &exit
	}
	return m
}

// sortWithOutputs sorts the ranges, and moves outputs and usage along with them.
func (g *group) sortWithOutputs() {
	type part struct {
		tasks          task.Range
		outputs, usage []byte
	}
	if slices.IsSortedFunc(g.ranges, byFirst) {
		return
	}
	parts := make([]part, len(g.ranges))
	outputs, usage := g.outputs, g.usage
	for i, r := range g.ranges {
		parts[i].tasks = r
		parts[i].outputs, outputs = cutPacked(outputs, r)
		parts[i].usage, usage = cutPacked(usage, r)
	}
	slices.SortFunc(parts, func(a, b part) int { return byFirst(a.tasks, b.tasks) })
	g.outputs, g.usage = slices.Grow([]byte(nil), len(g.outputs)), slices.Grow([]byte(nil), len(g.usage))
	for i, p := range parts {
		g.ranges[i] = p.tasks
		g.outputs = append(g.outputs, p.outputs...)
		g.usage = append(g.usage, p.usage...)
	}
}

// cutPacked takes the strings of a range of tasks from the front of a packed blob, which may be nil.
func cutPacked(packed []byte, r task.Range) (part, rest []byte) {
	if packed == nil {
		return nil, nil
	}
	rest, ok := task.PackSkip(packed, int(r.Count))
	if !ok {
		panic("report: a group has fewer outputs than tasks")
	}
	return packed[:len(packed)-len(rest)], rest
}

func byFirst(a, b task.Range) int { return cmp.Compare(a.First, b.First) }

// mergeSorted joins neighbours in place.
func mergeSorted(ranges []task.Range) []task.Range {
	out := ranges[:1]
	for _, r := range ranges[1:] {
		if last := &out[len(out)-1]; last.End() == r.First {
			last.Count += r.Count
		} else {
			out = append(out, r)
		}
	}
	return out
}
