package wire_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

func TestATokenIsNotSentInPlainText(t *testing.T) {
	t.Parallel()
	_, err := wire.Dial("127.0.0.1:1", wire.FixedToken(wire.NewSecret()).Option())
	require.Error(t, err)
}

func TestATokenFileThatIsReplacedIsUsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "token")
		write := func(text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
		_, err := wire.FileToken(path)
		require.ErrorIs(t, err, os.ErrNotExist)
		write("no token")
		_, err = wire.FileToken(path)
		require.ErrorIs(t, err, task.ErrUnauthenticated)
		require.ErrorContains(t, err, path)

		first, second := wire.NewSecret(), wire.NewSecret()
		write(first.Reveal() + "\n")
		token, err := wire.FileToken(path)
		require.NoError(t, err)
		sent := func() string {
			md, err := token.GetRequestMetadata(t.Context())
			require.NoError(t, err)
			return md[wire.AuthorizationKey]
		}
		require.Equal(t, "Bearer "+first.Reveal(), sent())
		write("half a")
		time.Sleep(time.Minute)
		require.Equal(t, "Bearer "+first.Reveal(), sent(), "it is being written")
		write(second.Reveal())
		time.Sleep(time.Minute)
		require.Equal(t, "Bearer "+second.Reveal(), sent())
	})
}
