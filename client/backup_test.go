package client_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// sealed is content with its checksum behind it, as servers send it.
func sealed(content string) []byte {
	sum := sha256.Sum256([]byte(content))
	return append([]byte(content), sum[:]...)
}

func TestASaveThatIsCutIsNoBackup(t *testing.T) {
	t.Parallel()
	whole := sealed("a backup")
	damaged := bytes.Clone(whole)
	damaged[0] ^= 1
	for name, tc := range map[string]struct {
		sent []byte
		end  error
		want error
	}{
		"whole":            {whole, nil, nil},
		"damaged":          {damaged, nil, task.ErrInternal},
		"cut":              {whole[:len(whole)-1], nil, task.ErrInternal},
		"empty":            {nil, nil, task.ErrInternal},
		"broken off":       {whole[:20], status.Error(codes.Unavailable, "gone"), task.ErrUnavailable},
		"broken off early": {whole[:2], status.Error(codes.Unavailable, "gone"), task.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster, c := setup(t, 1)
			cluster.save = func(s grpc.ServerStreamingServer[rotav1.SaveSnapshotResponse]) error {
				// In pieces that are smaller than the checksum.
				for at := 0; at < len(tc.sent); at += 7 {
					if err := s.Send(&rotav1.SaveSnapshotResponse{Data: tc.sent[at:min(at+7, len(tc.sent))]}); err != nil {
						return err
					}
				}
				return tc.end
			}
			var file bytes.Buffer
			n, err := c.SaveSnapshot(t.Context(), &file, client.SaveOptions{})
			require.EqualValues(t, file.Len(), n)
			if tc.want == nil {
				require.NoError(t, err)
				require.Equal(t, whole, file.Bytes())
				return
			}
			require.ErrorIs(t, err, tc.want)
			require.Len(t, cluster.called("SaveSnapshot"), 1)
		})
	}
}

// full is a disk without room.
type full struct{}

var errFull = errors.New("no space left on device")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestASaveEndsWhereItCannotBeWritten(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 1)
	cluster.save = func(s grpc.ServerStreamingServer[rotav1.SaveSnapshotResponse]) error {
		return s.Send(&rotav1.SaveSnapshotResponse{Data: sealed("a backup")})
	}
	_, err := c.SaveSnapshot(t.Context(), full{}, client.SaveOptions{})
	require.ErrorIs(t, err, errFull)
	require.Len(t, cluster.called("SaveSnapshot"), 1)
}
