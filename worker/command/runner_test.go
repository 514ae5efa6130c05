//go:build linux

package command

import (
	"fmt"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestWhatIsTheUsersFaultIsNotTheAgents(t *testing.T) {
	t.Parallel()
	for err, own := range map[error]bool{
		unix.EMFILE: true, unix.ENFILE: true, unix.ENOMEM: true, unix.EAGAIN: true,
		unix.ENOENT: false, unix.EACCES: false, unix.ENOEXEC: false, unix.E2BIG: false, unix.ETXTBSY: false, unix.ELOOP: false,
	} {
		require.Equal(t, own, ownFault(fmt.Errorf("start: %w", &fs.PathError{Err: err})), "%v", err)
	}
	require.False(t, ownFault(nil))
}
