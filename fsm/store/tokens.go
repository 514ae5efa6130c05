package store

import (
	"cmp"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// tokensAtOnce is how many tasks are looked up together. What they have in common is read
// once; thousands of neighbours are in a few records.
const tokensAtOnce = 16 * fsm.PageTasks

// Tokens implements fsm.History.
func (db *DB) Tokens(job uint64, tasks []task.Range, f func(task.Range, fsm.LastToken)) {
	must(db.tokens(job, tasks, f))
}

func (db *DB) tokens(job uint64, tasks []task.Range, f func(task.Range, fsm.LastToken)) error {
	return db.view(func(tx *bolt.Tx) error {
		rec, err := readJob(tx, job)
		if err != nil {
			return err
		}
		l := &tokenLookup{tx: tx, rec: rec}
		for _, r := range tasks {
			for r.Count > 0 {
				if r.First >= rec.GetTotal() {
					f(r, fsm.LastToken{})
					break
				}
				n := min(r.Count, tokensAtOnce, rec.Total-r.First)
				if err := l.tell(task.Range{First: r.First, Count: n}, f); err != nil {
					return err
				}
				r.First, r.Count = r.First+n, r.Count-n
			}
		}
		return nil
	})
}

// tokenLookup finds the tokens of tasks of a job. What it has read it keeps for the next ones.
type tokenLookup struct {
	tx *bolt.Tx
	// rec is the job's record, page the index page of task pageOf and its neighbours.
	rec    *logpb.JobRecord
	page   []byte
	pageOf uint32
	// segments is what was read last of the results.
	segments []fsm.ResultSegment
	at       []cursorOf
	tokens   []fsm.LastToken
}

// cursorOf is the cursor of the n-th of some tasks.
type cursorOf struct {
	n      int
	cursor uint32
}

// tell looks up the tasks of r.
func (l *tokenLookup) tell(r task.Range, f func(task.Range, fsm.LastToken)) error {
	l.at, l.tokens = l.at[:0], append(l.tokens[:0], make([]fsm.LastToken, r.Count)...)
	for n := range int(r.Count) {
		cursor, ok, err := l.cursor(r.First + uint32(n))
		if err != nil {
			return err
		}
		if ok {
			l.at = append(l.at, cursorOf{n, cursor})
		}
	}
	slices.SortFunc(l.at, func(a, b cursorOf) int { return cmp.Compare(a.cursor, b.cursor) })
	for _, c := range l.at {
		s, err := l.segment(c.cursor)
		if err != nil {
			return err
		}
		if s != nil {
			l.tokens[c.n] = fsm.LastToken{TokenOffset: s.TokenOffset, Granted: s.Granted, Known: true, Unreported: s.Unreported}
		}
	}
	for n := 0; n < len(l.tokens); {
		first := n
		for n < len(l.tokens) && l.tokens[n] == l.tokens[first] {
			n++
		}
		f(task.Range{First: r.First + uint32(first), Count: uint32(n - first)}, l.tokens[first])
	}
	return nil
}

// cursor is readCursor, with what was read before at hand.
func (l *tokenLookup) cursor(i uint32) (cursor uint32, ok bool, err error) {
	if l.page == nil || l.pageOf/fsm.PageTasks != i/fsm.PageTasks {
		if l.page, err = readIndex(l.tx, l.rec.Id, i); err != nil {
			return 0, false, err
		}
		l.pageOf = i
	}
	if cursor, ok, err = cursorIn(l.page, l.rec.Id, i); ok || err != nil {
		return cursor, ok, err
	}
	return inlineCursor(l.rec, i)
}

// segment returns the segment with a cursor, or nil. Cursors of one call of tell rise.
func (l *tokenLookup) segment(cursor uint32) (*logpb.Segment, error) {
	if seg := segmentWith(l.segments, cursor); seg != nil {
		return seg.Segment, nil
	}
	var err error
	if l.segments, err = readSegments(l.tx, l.rec.Id, cursor, 1); err != nil {
		return nil, err
	}
	if seg := segmentWith(l.segments, cursor); seg != nil {
		return seg.Segment, nil
	}
	return nil, nil
}
