package transport

import (
	"context"
	"strconv"

	"google.golang.org/protobuf/proto"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/transport/access"
	"github.com/rota-scheduler/rota/wire"
)

const (
	defaultPage = 100
	maxPage     = 1000
	// pageBytes is about the size of a page of a list, bytes. Its last record may make it larger by the size of
	// the largest record, some 500 KiB.
	pageBytes = 1 << 20
	// maxScan bounds the jobs that one page looks through for those that match. If it has found too few by then, the
	// page says where to go on.
	maxScan = 20_000
	// maxWalked is about how much a page reads for that at most, bytes: a job with a payload has 256 KiB. These two
	// bound the cost of a page.
	maxWalked = 64 << 20
	// scanBatch is how many of these jobs are in memory at once.
	scanBatch = 64
)

// page gathers a page of a list.
type page struct {
	// size is how many records are wanted.
	size, count, bytes int
	// scanned is how many records were looked at for it, and walked how much was read, bytes.
	scanned, walked int
}

// newPage checks the size that a request asks for.
func newPage(size uint32) (*page, error) {
	switch {
	case size == 0:
		return &page{size: defaultPage}, nil
	case size > maxPage:
		return nil, task.Errorf(task.KindInvalid, "a page of %d is too large: use up to %d", size, maxPage)
	}
	return &page{size: int(size)}, nil
}

// add notes that a record is on the page.
func (p *page) add(m proto.Message) { p.count, p.bytes = p.count+1, p.bytes+proto.Size(m) }

func (p *page) full() bool { return p.count >= p.size || p.bytes >= pageBytes }

// ListJobs implements the job service. It costs what it returns, and at most maxScan records and maxWalked bytes that do
// not match.
func (s *Server) ListJobs(ctx context.Context, r *rotav1.ListJobsRequest) (*rotav1.ListJobsResponse, error) {
	p, err := newPage(r.GetPageSize())
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	below, err := parsePageToken(r.GetPageToken())
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	// Each job that is looked at is compared with each of them.
	if n := len(r.GetStates()); n > len(rotav1.JobState_name) {
		return nil, wire.ToStatus(task.Errorf(task.KindInvalid, "%d states are too many: name each once, there are %d", n, len(rotav1.JobState_name)))
	}
	if err := s.fresh(ctx, r.GetRead()); err != nil {
		return nil, wire.ToStatus(err)
	}
	resp := &rotav1.ListJobsResponse{AppliedIndex: s.node.State().Machine().AppliedIndex(), Stale: r.GetRead().GetStale()}
	if below, err = s.listJobs(ctx, r, below, p, resp); err != nil {
		return nil, wire.ToStatus(err)
	}
	resp.NextPageToken = pageToken(below)
	return resp, nil
}

// listJobs fills a page with jobs whose ids are below one, and returns the id below which the next page begins; 0: there
// is no next page.
func (s *Server) listJobs(ctx context.Context, r *rotav1.ListJobsRequest, below uint64, p *page, resp *rotav1.ListJobsResponse) (uint64, error) {
	// The page stays in memory while it waits for its turn to go on.
	holding := wire.HoldingOf(ctx)
	defer holding.End()
	for p.scanned < maxScan && p.walked < maxWalked && ctx.Err() == nil {
		before := p.bytes
		var done bool
		err := wire.Walk(ctx, func() (err error) {
			below, done, err = s.listSome(access.CallOf(ctx), r, below, p, resp)
			return err
		})
		if err != nil || done {
			return below, err
		}
		if added := p.bytes - before; added > 0 {
			holding.Take(int64(added))
		}
	}
	return below, ctx.Err()
}

// listSome looks through some jobs for those that belong on a page, and that the caller may see; done: it is full, or there are no more.
func (s *Server) listSome(call *access.Call, r *rotav1.ListJobsRequest, below uint64, p *page, resp *rotav1.ListJobsResponse) (next uint64, done bool, err error) {
	batch := scanBatch
	if call.SeesAll() && r.GetQueue() == "" && r.GetName() == "" && len(r.GetStates()) == 0 { // all match
		batch = min(batch, p.size-p.count)
	}
	records, next, walked, err := s.node.State().JobsBelow(below, batch)
	if err != nil {
		return 0, false, err
	}
	for k, rec := range records {
		job, err := s.jobOf(rec)
		if err != nil {
			return 0, false, err
		}
		if !call.Sees(job.Spec.Queue) || !matches(r, job) {
			continue
		}
		resp.Jobs = append(resp.Jobs, job)
		p.add(job)
		if p.full() && (k < len(records)-1 || next != 0) {
			return rec.Id, true, nil
		}
	}
	// A batch may be empty: its jobs have just been forgotten.
	p.scanned, p.walked = p.scanned+max(1, len(records)), p.walked+walked
	return next, next == 0, nil
}

// pageToken names the job below which a page begins; "" if none can follow.
func pageToken(id uint64) string {
	if id <= 1 {
		return ""
	}
	return strconv.FormatUint(id, 36)
}

var errPageToken = task.Errorf(task.KindInvalid, "malformed page token: use the one of the page before")

// parsePageToken is the inverse of pageToken.
func parsePageToken(token string) (id uint64, err error) {
	if token == "" {
		return 0, nil
	}
	if id, err = strconv.ParseUint(token, 36, 64); err != nil || id == 0 {
		return 0, errPageToken
	}
	return id, nil
}

func matches(r *rotav1.ListJobsRequest, j *rotav1.Job) bool {
	if r.GetQueue() != "" && r.GetQueue() != j.Spec.Queue || r.GetName() != "" && r.GetName() != j.Spec.Name {
		return false
	}
	for _, state := range r.GetStates() {
		if state == j.State {
			return true
		}
	}
	return len(r.GetStates()) == 0
}
