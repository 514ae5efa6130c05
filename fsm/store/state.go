package store

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/atomicfile"
	"github.com/rota-scheduler/rota/internal/latency"
	"github.com/rota-scheduler/rota/task"
)

// State is the state of one server: a machine and its file. When a snapshot is
// installed another pair takes their place; Machine and DB return the current one.
type State struct {
	dir      string
	id       Identity
	log      *slog.Logger
	watchers *fsm.Watchers
	pair     atomic.Pointer[pair]

	// flushing is held while the file is written, and while it is replaced.
	flushing sync.Mutex
	// unwritten is a batch for which there was no space.
	unwritten *fsm.FlushBatch
	// flushed is how long writes of the file have taken, by now: this package has no clock of its own.
	flushed latency.Histogram
	now     func() time.Time
	// growth is by how much the file may grow while it is sent, bytes; 0: see growthShare.
	growth int64
	// closing counts files that wait for their last readers, and filters that are made.
	closing sync.WaitGroup
	// onCorrupt is told of damage that a read has found; nil: nobody is.
	onCorrupt atomic.Pointer[func(error)]
}

type pair struct {
	machine *fsm.Machine
	db      *DB
}

// viewJob runs f in a read transaction, for what of a job has left memory.
func (p *pair) viewJob(id uint64, f func(tx *bolt.Tx) error) error {
	if p.machine.Collected(id) {
		return fsm.NoSuchJob(id)
	}
	return p.db.view(func(tx *bolt.Tx) error {
		if p.db.leaving.Load() && tx.Bucket(leavingBucket).Get(key64(id)) != nil {
			return fsm.NoSuchJob(id)
		}
		return f(tx)
	})
}

// OpenState opens the state in dir, or makes an empty one.
func OpenState(dir string, id Identity, log *slog.Logger) (*State, error) {
	s := &State{dir: dir, id: id, log: log, watchers: fsm.NewWatchers(), now: func() time.Time { return time.Time{} }}
	p, err := s.open()
	if err != nil {
		return nil, err
	}
	s.pair.Store(p)
	return s, nil
}

func (s *State) open() (*pair, error) {
	db, err := Open(s.dir, s.id)
	if err != nil {
		return nil, err
	}
	m, err := db.Load(s.watchers)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &pair{m, db}, nil
}

// MeasureBy has writes of the file measured by a clock. Call it before the first of them.
func (s *State) MeasureBy(now func() time.Time) { s.now = now }

// Machine returns the current machine.
func (s *State) Machine() *fsm.Machine { return s.pair.Load().machine }

// Watchers wakes those who wait for changes, whatever machine makes them.
func (s *State) Watchers() *fsm.Watchers { return s.watchers }

// FileSize is the size of state.db, bytes.
func (s *State) FileSize() int64 { return s.pair.Load().db.Size() }

// Flush writes what has changed since the last flush. When it returns nil, the file
// has reached the index that the machine had when it was called. A batch that could
// not be written because the disk is full is kept, and written by the next Flush;
// after any other error the process must end (see IsDiskFull).
func (s *State) Flush() error {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	p := s.pair.Load()
	for {
		c := s.unwritten
		if c == nil {
			if c = p.machine.TakeBatch(); c == nil {
				return p.db.leaveOn()
			}
		}
		retried := s.unwritten != nil
		s.unwritten = c
		began := s.now()
		if err := p.db.Write(c); err != nil {
			return fmt.Errorf("write %s: %w", p.db.path, err)
		}
		s.flushed.Add(s.now().Sub(began))
		s.unwritten = nil
		p.machine.Flushed(c)
		if err := s.renewKeyFilter(p.db); err != nil {
			return err
		}
		if !retried {
			return nil
		}
	}
}

// renewKeyFilter makes the filter of request keys anew where it is full. s.flushing is held.
func (s *State) renewKeyFilter(db *DB) error {
	rest, err := db.renewKeyFilter()
	if rest == nil || err != nil {
		return err
	}
	s.closing.Go(func() {
		if err := rest(); errors.Is(err, ErrCorrupt) {
			_ = s.corrupt(err)
		}
	})
	return nil
}

// IsDiskFull says that err is for want of space. Nothing was written then, and the
// same can be tried again; any other failed write leaves it open what the disk has.
func IsDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// IsScarce says that err is for want of space, or of file descriptors: nothing was written, and
// the same can be tried again once there is some.
func IsScarce(err error) bool {
	return IsDiskFull(err) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// Close flushes and closes the file.
func (s *State) Close() error {
	err := s.Flush()
	s.flushing.Lock()
	defer s.flushing.Unlock()
	s.closing.Wait()
	return errors.Join(err, s.pair.Load().db.Close())
}

// Abandon closes the file without a flush, as a crash would.
func (s *State) Abandon() error {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	s.closing.Wait()
	return s.pair.Load().db.Close()
}

// Install puts a received file, complete and checked, in the place of the state.
func (s *State) Install(received string) error {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	if err := adopt(received, s.id); err != nil {
		return err
	}
	old := s.pair.Load()
	if err := atomicfile.Rename(received, filepath.Join(s.dir, FileName)); err != nil {
		return err
	}
	p, err := s.open()
	if err != nil {
		return err
	}
	s.pair.Store(p)
	s.unwritten = nil // of the machine that was replaced
	s.watchers.WakeAll()
	s.closing.Go(func() {
		// Waits for the last reader of the old file, which has no name any more.
		if err := old.db.Close(); err != nil {
			s.log.Warn("cannot close the replaced state.db", "error", err)
		}
	})
	return nil
}

// adopt makes a received file this server's own.
func adopt(path string, id Identity) error {
	return guard(func() error {
		b, err := openReserved(path)
		if err != nil {
			return fmt.Errorf("open the received state: %w", err)
		}
		err = b.Update(func(tx *bolt.Tx) error {
			meta := &logpb.Meta{}
			if err := getMeta(tx, meta); err != nil {
				return err
			}
			meta.NodeId, meta.ServerId = id.NodeID, id.ServerID
			return putProto(tx, metaBucket, metaKey, meta)
		})
		return errors.Join(err, b.Close())
	})
}

// OnCorrupt sets what is called when a read finds damage, or a state comes that this build does not know, each time.
func (s *State) OnCorrupt(f func(error)) { s.onCorrupt.Store(&f) }

// read runs f on the current pair, again where the file was replaced and closed
// before f could open a transaction. Damage that f finds is this server's alone: to its
// caller it is KindUnavailable, as others may have what is lost here.
func (s *State) read(f func(p *pair) error) error {
	for {
		p := s.pair.Load()
		err := f(p)
		switch {
		case errors.Is(err, berrors.ErrDatabaseNotOpen) && s.pair.Load() != p:
			continue
		case errors.Is(err, ErrCorrupt):
			return s.corrupt(err)
		}
		return err
	}
}

// tell tells why this server cannot go on.
func (s *State) tell(err error) {
	if f := s.onCorrupt.Load(); f != nil {
		(*f)(err)
	}
}

func (s *State) corrupt(err error) error {
	s.tell(err)
	return &task.Error{Kind: task.KindUnavailable, Msg: "this server cannot read it: " + err.Error(), Err: err}
}

// Job returns the record of a job: from memory, or from disk.
func (s *State) Job(id uint64) (rec *logpb.JobRecord, err error) {
	err = s.read(func(p *pair) error {
		if r, ok := p.machine.Job(id); ok {
			rec = r
			return nil
		}
		if p.machine.Collected(id) {
			return fsm.NoSuchJob(id)
		}
		r, err := p.db.job(id)
		if err != nil {
			return err
		}
		if r == nil {
			return fsm.NoSuchJob(id)
		}
		rec = r
		return nil
	})
	return rec, err
}

// Payloads returns the packed payloads of count tasks of a job that has payloads of
// its own.
func (s *State) Payloads(id uint64, first, count uint32) (packed []byte, err error) {
	err = s.read(func(p *pair) error {
		packed = nil
		for i, left := first, count; left > 0; {
			part, ok := p.machine.Payloads(id, i, left)
			if ok && packed == nil {
				packed = part
				return nil
			} else if ok {
				packed = append(packed, part...)
				return nil
			}
			// The first ones are on disk; what was appended since may not be.
			n := uint32(0)
			err := p.viewJob(id, func(tx *bolt.Tx) (err error) {
				part, n, err = readPayloads(tx, id, i, left, math.MaxInt)
				return err
			})
			if err != nil {
				return err
			}
			packed = append(packed, part...)
			i, left = i+n, left-n
		}
		return nil
	})
	return packed, err
}

// Segments returns results of a job in order of completion, from a cursor on, up to
// about limit bytes; none where the cursor is the next one to be given. The first
// may begin before the cursor.
func (s *State) Segments(id uint64, cursor uint32, limit int) (out []fsm.ResultSegment, err error) {
	err = s.read(func(p *pair) error {
		var ok bool
		if out, ok = p.machine.Segments(id, cursor, limit); ok {
			return nil
		}
		return p.viewJob(id, func(tx *bolt.Tx) error {
			out, err = readSegments(tx, id, cursor, limit)
			// The record before the cursor's may be the last there is.
			out = slices.DeleteFunc(out, func(s fsm.ResultSegment) bool { return s.First+s.Count <= cursor })
			return err
		})
	})
	return out, err
}

// SortOut says what of a report its session holds, and what the verdicts on the rest are.
func (s *State) SortOut(session uint64, groups []*logpb.ReportGroup) (sorted *fsm.SortedOut, exceptions []fsm.Exception, err error) {
	err = s.read(func(p *pair) (err error) {
		sorted = p.machine.SortOut(session, groups)
		exceptions, err = sorted.Exceptions(p.db.tokens)
		return err
	})
	return sorted, exceptions, err
}

// Cursor returns the cursor of the outcome of a task; ok is false where it has none.
func (s *State) Cursor(id uint64, i uint32) (cursor uint32, ok bool, err error) {
	err = s.read(func(p *pair) error {
		var known bool
		if cursor, ok, known = p.machine.Cursor(id, i); known {
			return nil
		}
		return p.viewJob(id, func(tx *bolt.Tx) error {
			cursor, ok, err = readCursor(tx, id, i)
			return err
		})
	})
	return cursor, ok, err
}

// JobState derives the state of a job from its record.
func JobState(r *logpb.JobRecord) task.JobState {
	var c task.Counts
	copy(c[:], r.Counts)
	state := c.JobState(r.Total, r.Open, r.StartedNs != 0)
	if state == task.JobSucceeded && r.CancelReason != 0 {
		// It was cancelled while it still grew: what was to come did not succeed.
		return task.JobCancelled
	}
	return state
}
