package ledger

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

func TestTheScriptWritesWhatIsRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger")
	l, err := Read(path)
	require.NoError(t, err)
	require.Empty(t, l.Lines, "nobody wrote yet")

	cmd := exec.Command("sh", "-c", Script)
	cmd.Env = append(os.Environ(), Env+"="+path, "ROTA_JOB_ID=7", "ROTA_TASK_INDEX=2", "ROTA_ATTEMPT=3", "ROTA_FENCE=99")
	out, err := cmd.Output()
	require.NoError(t, err)
	require.Equal(t, history.Fence+"99\n", string(out))
	l, err = Read(path)
	require.NoError(t, err)
	require.Len(t, l.Lines, 6)
	require.Equal(t, history.LedgerLine{What: "start", Job: 7, Index: 2, Attempt: 3, Token: 99}, l.Lines[0])
	require.Equal(t, "end", l.Lines[5].What)
}

func TestALineThatNobodyWritesIsAnError(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger")
	require.NoError(t, os.WriteFile(path, []byte("start 1 x\n"), 0o600))
	_, err := Read(path)
	require.ErrorContains(t, err, "line 1")
}
