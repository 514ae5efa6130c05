package worker

import (
	"bytes"
	"slices"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// groupOverhead is what a group costs beside its texts and outputs, and rangeSize
// what a range does, bytes: estimates from above, of message and memory.
const (
	groupOverhead = 96
	rangeSize     = 12
)

// kind is what all results of a group have in common, beside their texts.
type kind struct {
	outcome   rotav1.Outcome
	reason    rotav1.Reason
	permanent bool
	// hasExit says that exit is the exit code of a command.
	hasExit bool
	exit    int32
	// missing is how many bytes of the output were not kept, behind its first head bytes.
	missing uint64
	head    uint32
}

// result is how one attempt ended.
type result struct {
	kind
	err    string
	stderr []byte
	// output is copied before the result is used up.
	output  []byte
	runTime time.Duration
	usage   task.Usage
}

// group gathers results of one job that ended alike. Outputs stand in packed in the
// order of ranges; while all of them are empty there is none.
type group struct {
	key     key
	kind    kind
	err     string
	stderr  []byte
	ranges  []indexRange
	count   int
	packed  []byte
	runTime time.Duration
	size    int
	// usage is what each task has used, packed in the same order; nil: nothing is known of any.
	usage []byte
}

func newGroup(k key, res *result) *group {
	return &group{
		key: k, kind: res.kind, err: res.err, stderr: res.stderr,
		size: groupOverhead + len(res.err) + len(res.stderr),
	}
}

// takes says whether a result may join the group, and there is room for it.
func (g *group) takes(k key, res *result) bool {
	return g.key == k && g.kind == res.kind && g.err == res.err && bytes.Equal(g.stderr, res.stderr) &&
		g.size+len(res.output)+rangeSize+maxVarint+1+task.MaxUsage <= maxReport
}

// maxVarint is the longest length prefix of an output, bytes.
const maxVarint = 3

// append adds one result and returns by how much the group has grown.
func (g *group) append(index uint32, res *result) int {
	before := g.size
	if len(res.output) > 0 && g.packed == nil {
		// Those before it were empty: a length of 0 each.
		g.packed = make([]byte, g.count, g.count+len(res.output)+maxVarint)
		g.size += g.count
	}
	if g.packed != nil {
		n := len(g.packed)
		g.packed = task.PackAppend(g.packed, res.output)
		g.size += len(g.packed) - n
	}
	g.use(res.usage)
	g.runTime += res.runTime
	g.push(indexRange{index, index + 1})
	return g.size - before
}

// appendRange adds tasks without outputs and returns by how much the group has grown.
func (g *group) appendRange(r indexRange) int {
	before := g.size
	if g.packed != nil {
		g.packed = append(g.packed, make([]byte, r.end-r.first)...)
		g.size += int(r.end - r.first)
	}
	if g.usage != nil {
		g.usage = append(g.usage, make([]byte, r.end-r.first)...)
		g.size += int(r.end - r.first)
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
		// Of those before it nothing is known: a length of 0 each.
		g.usage = make([]byte, g.count, g.count+8)
	}
	at := len(g.usage)
	g.usage = u.Append(append(g.usage, 0))
	g.usage[at] = byte(len(g.usage) - at - 1)
	g.size += len(g.usage) - before
}

func (g *group) push(r indexRange) {
	g.count += int(r.end - r.first)
	if n := len(g.ranges); n > 0 && g.ranges[n-1].end == r.first {
		g.ranges[n-1].end = r.end
		return
	}
	g.ranges = append(g.ranges, r)
	g.size += rangeSize
}

// seal turns the group into its message, with its tasks in order: slots that run
// side by side complete neighbours in any order, and in order they are few ranges.
func (g *group) seal() *rotav1.ReportGroup {
	if len(g.ranges) > 1 {
		if g.packed == nil && g.usage == nil {
			slices.SortFunc(g.ranges, byFirst)
		} else {
			g.sortWithOutputs()
		}
		g.ranges = mergeSorted(g.ranges)
	}
	m := &rotav1.ReportGroup{
		JobId:         g.key.job,
		TokenOffset:   g.key.offset,
		Ranges:        wireRanges(g.ranges),
		Outcome:       g.kind.outcome,
		Reason:        g.kind.reason,
		Error:         g.err,
		StderrTail:    g.stderr,
		PackedOutputs: g.packed,
		PackedUsage:   g.usage,
		RunNs:         int64(g.runTime),
		Permanent:     g.kind.permanent,
		OutputMissing: g.kind.missing,
		OutputHead:    g.kind.head,
	}
	if g.kind.hasExit {
		exit := g.kind.exit
		m.ExitCode = &exit
	}
	return m
}

// sortWithOutputs brings ranges in order, and the outputs, and what was used, with them.
func (g *group) sortWithOutputs() {
	type part struct {
		indexRange
		outputs, usage []byte
	}
	if slices.IsSortedFunc(g.ranges, byFirst) {
		return
	}
	parts := make([]part, len(g.ranges))
	outputs, usage := g.packed, g.usage
	for i, r := range g.ranges {
		parts[i].indexRange = r
		parts[i].outputs, outputs = cutPacked(outputs, r)
		parts[i].usage, usage = cutPacked(usage, r)
	}
	slices.SortFunc(parts, func(a, b part) int { return byFirst(a.indexRange, b.indexRange) })
	g.packed, g.usage = slices.Grow([]byte(nil), len(g.packed)), slices.Grow([]byte(nil), len(g.usage))
	for i, p := range parts {
		g.ranges[i] = p.indexRange
		g.packed = append(g.packed, p.outputs...)
		g.usage = append(g.usage, p.usage...)
	}
}

// cutPacked takes the strings of a range of tasks from a packed blob; there is nothing in none.
func cutPacked(packed []byte, r indexRange) (part, rest []byte) {
	if packed == nil {
		return nil, nil
	}
	rest, ok := task.PackSkip(packed, int(r.end-r.first))
	if !ok {
		panic("worker: outputs of a group are fewer than its tasks")
	}
	return packed[:len(packed)-len(rest)], rest
}

func byFirst(a, b indexRange) int {
	switch {
	case a.first < b.first:
		return -1
	case a.first > b.first:
		return 1
	default:
		return 0
	}
}

// mergeSorted joins neighbours in place.
func mergeSorted(ranges []indexRange) []indexRange {
	out := ranges[:1]
	for _, r := range ranges[1:] {
		if last := &out[len(out)-1]; last.end == r.first {
			last.end = r.end
		} else {
			out = append(out, r)
		}
	}
	return out
}
