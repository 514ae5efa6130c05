package transport

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/fsm/store/backup"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

const (
	// pieceBytes is the largest message of a backup: gRPC holds one for a client that does not read.
	pieceBytes = 256 << 10
	// savingRetry is when a client should ask again that has found another backup under way.
	savingRetry = 2 * time.Second
)

// SaveSnapshot implements the cluster service. Any server serves it.
func (s *Server) SaveSnapshot(r *rotav1.SaveSnapshotRequest, stream grpc.ServerStreamingServer[rotav1.SaveSnapshotResponse]) error {
	if err := wire.CheckKnown(r); err != nil {
		return wire.ToStatus(err)
	}
	ctx, cancel := s.streamContext(stream.Context())
	defer cancel()
	return wire.ToStatus(s.within(ctx, func() error { return s.saveSnapshot(ctx, r, stream) }))
}

// saveSnapshot sends a backup. While it does, state.db grows by what changes: so there is one at a time.
func (s *Server) saveSnapshot(ctx context.Context, r *rotav1.SaveSnapshotRequest, stream grpc.ServerStreamingServer[rotav1.SaveSnapshotResponse]) (err error) {
	if !s.saving.TryLock() {
		return &task.Error{Kind: task.KindExhausted, Msg: "this server is sending another backup: wait for that one, or ask another server", RetryAfter: savingRetry}
	}
	defer s.saving.Unlock()
	if err := s.fresh(ctx, &rotav1.ReadOptions{Stale: r.GetStale()}); err != nil {
		return err
	}
	began := time.Now()
	b, err := s.node.Backup()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	out := &pieces{stream: stream}
	if err := backup.Write(out, s.manifest(b, began), b); err != nil {
		return &task.Error{Kind: task.KindUnavailable, Msg: "the backup was not sent to its end: " + err.Error(), Err: err}
	}
	s.log.Info("a backup was sent", "index", b.Meta.AppliedIndex, "state_bytes", b.Size, "bytes", out.sent, "took", time.Since(began))
	return nil
}

// manifest says what is in a backup.
func (s *Server) manifest(b *store.Backup, began time.Time) *backup.Manifest {
	m := &backup.Manifest{
		TakenAt: began.UTC(), NodeID: s.node.NodeID(), Version: s.version, ClusterID: b.Meta.ClusterId,
		Index: b.Meta.AppliedIndex, Term: b.Meta.AppliedTerm, Clock: time.Unix(0, b.Meta.ClockNs).UTC(),
		Digest: hex64(b.Meta.Digest), LogVersion: b.Meta.Version, StateFormat: b.Meta.Format,
		Jobs: b.Jobs, UnfinishedJobs: b.Unfinished, RequestKeys: b.Keys, Sessions: b.Sessions,
		NextJob: b.Meta.NextJob, NextToken: b.Meta.NextToken, Servers: nodeIDs(b.Meta.Servers), StateBytes: b.Size,
	}
	if inc := b.Meta.Incarnation; inc != nil {
		m.Incarnation = hex64(inc.Id)
	}
	return m
}

func hex64(n uint64) string { return fmt.Sprintf("%016x", n) }

func nodeIDs(servers []*logpb.ServerRecord) []string {
	ids := make([]string, 0, len(servers))
	for _, s := range servers {
		ids = append(ids, s.NodeId)
	}
	return ids
}

// pieces sends what is written, in messages of a bounded size.
type pieces struct {
	stream grpc.ServerStreamingServer[rotav1.SaveSnapshotResponse]
	sent   int64
}

// Write implements io.Writer.
func (p *pieces) Write(data []byte) (n int, err error) {
	for n < len(data) {
		part := data[n:min(n+pieceBytes, len(data))]
		if err := p.stream.Send(&rotav1.SaveSnapshotResponse{Data: part}); err != nil {
			return n, err
		}
		n += len(part)
	}
	p.sent += int64(n)
	return n, nil
}
