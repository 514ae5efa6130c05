package wire

import (
	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// RangeFromProto translates a range, which need not be valid.
func RangeFromProto(p *rotav1.IndexRange) task.Range {
	return task.Range{First: p.GetFirst(), Count: p.GetCount()}
}

// RangesFromProto translates ranges, which need not be valid; none are nil.
func RangesFromProto(p []*rotav1.IndexRange) []task.Range {
	if len(p) == 0 {
		return nil
	}
	out := make([]task.Range, len(p))
	for i, r := range p {
		out[i] = RangeFromProto(r)
	}
	return out
}

// RangeToProto translates a range back.
func RangeToProto(r task.Range) *rotav1.IndexRange {
	return &rotav1.IndexRange{First: r.First, Count: r.Count}
}

// RangesToProto translates ranges back; none are nil.
func RangesToProto(ranges []task.Range) []*rotav1.IndexRange {
	if len(ranges) == 0 {
		return nil
	}
	// One allocation for all of them.
	backing := make([]rotav1.IndexRange, len(ranges))
	out := make([]*rotav1.IndexRange, len(ranges))
	for i, r := range ranges {
		backing[i].First, backing[i].Count = r.First, r.Count
		out[i] = &backing[i]
	}
	return out
}
