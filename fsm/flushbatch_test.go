package fsm

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

func TestRangesOfASegmentKeepTheirOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOf(rapid.Uint32Range(0, 20)).Draw(t, "indexes")
		var ranges []*logpb.Range
		for _, i := range want {
			addIndex(&ranges, i, 1)
		}
		var got []uint32
		eachIndex(ranges, func(i uint32) { got = append(got, i) })
		require.Equal(t, len(want), len(got))
		require.True(t, slices.Equal(want, got))
	})
}

func TestSlotsAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := &page{slots: make([]slot, rapid.IntRange(1, pageSize).Draw(t, "size"))}
		for range rapid.IntRange(0, 20).Draw(t, "touched") {
			p.slots[rapid.IntRange(0, len(p.slots)-1).Draw(t, "slot")] = slot{
				token: rapid.Uint64().Draw(t, "token"), at: rapid.Int64().Draw(t, "at"), session: rapid.Uint64().Draw(t, "session"),
				attempt: rapid.Uint16().Draw(t, "attempt"), failures: rapid.Uint8().Draw(t, "failures"), lost: rapid.Uint8().Draw(t, "lost"),
				state:  rapid.SampledFrom([]task.State{task.Blocked, task.Scheduled, task.Pending, task.Assigned, task.Stopping}).Draw(t, "state"),
				reason: task.Reason(rapid.Uint8().Draw(t, "reason")),
			}
		}
		for range rapid.IntRange(0, 4).Draw(t, "grants") {
			s := slot{
				token: rapid.Uint64().Draw(t, "first token"), at: rapid.Int64().Draw(t, "granted at"), session: rapid.Uint64().Draw(t, "to"),
				attempt: rapid.Uint16Range(1, 3).Draw(t, "attempts"), state: task.Assigned,
			}
			first, end := rapid.IntRange(0, len(p.slots)-1).Draw(t, "first"), rapid.IntRange(0, len(p.slots)).Draw(t, "end")
			for k := first; k < end; k++ {
				p.slots[k] = s
				s.token++
			}
		}
		b := p.encode(nil)
		got := &page{slots: make([]slot, len(p.slots))}
		require.True(t, got.decode(b))
		require.Equal(t, p, got)
		for n := range b {
			cut := &page{slots: make([]slot, len(p.slots))}
			cut.decode(b[:n]) // it may be a run of whole slots; it must not panic
		}
	})
}

// Servers that did not know runs yet wrote a record for each slot.
func TestSlotsThatWereWrittenOneByOneAreRead(t *testing.T) {
	t.Parallel()
	p, got := grantedPage(), &page{slots: make([]slot, pageSize)}
	var b []byte
	for k, s := range p.slots {
		b = append(b, byte(k), byte(s.state), byte(s.reason), s.failures, s.lost)
		b = binary.AppendUvarint(b, uint64(s.attempt))
		b = binary.AppendUvarint(b, s.token)
		b = binary.AppendVarint(b, s.at)
		b = binary.AppendUvarint(b, s.session)
	}
	require.True(t, got.decode(b))
	require.Equal(t, p, got)
}

func grantedPage() *page {
	p := &page{slots: make([]slot, pageSize)}
	for k := range p.slots {
		p.slots[k] = slot{token: 1<<20 + uint64(k), at: 1 << 60, session: 2000, attempt: 1, state: task.Assigned}
	}
	return p
}

func TestAPageThatIsGrantedAtOnceIsSmall(t *testing.T) {
	t.Parallel()
	require.Less(t, len(grantedPage().encode(nil)), 32)
}

func TestRunsThatDoNotFitAPageAreMalformed(t *testing.T) {
	t.Parallel()
	p := grantedPage()
	whole := p.encode(nil)
	short := &page{slots: make([]slot, pageSize-1)}
	require.False(t, short.decode(whole))
	none := append([]byte(nil), whole...)
	none[5], none[6] = 0x80, 0 // a run of no slots
	require.False(t, (&page{slots: make([]slot, pageSize)}).decode(none))
	require.Equal(t, make([]slot, pageSize-1), short.slots)
}

// The test is not parallel: other tests could get the page as soon as it is recycled.
func TestARecycledPageIsFresh(t *testing.T) {
	p := newPage(pageSize)
	for k := range p.slots {
		p.slots[k] = slot{token: 1, at: 2, session: 3, attempt: 4, failures: 5, lost: 6, state: task.Succeeded, reason: 7}
	}
	p.final, p.dirty, p.stored = pageSize, true, true
	p.recycle()
	require.Equal(t, &page{slots: make([]slot, pageSize)}, p)
}
