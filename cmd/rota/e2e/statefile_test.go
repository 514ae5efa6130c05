package e2e

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/task"
)

const stateFile = "state.db"

// damaged is a cluster. The tests change the files of one of its servers.
type damaged struct {
	*cluster
	victim *localcluster.Process
	// truth is the output of each job.
	truth map[uint64][]byte
	// good is a copy of the victim's data folder, taken while it did not run, and
	// older one of its state.db before the last jobs.
	good, older string
}

// damage prepares a cluster with finished jobs, and stops its last server.
func damage(t *testing.T, serverFlags ...string) *damaged {
	d := &damaged{
		cluster: start(t, localcluster.Config{Servers: 3, Workers: 1, Slots: 4, ServerFlags: serverFlags}),
		truth:   map[uint64][]byte{},
	}
	d.work(50)
	d.victim = d.followers()[1]
	d.stop()
	d.older = filepath.Join(d.dir, "older.db")
	copyFile(t, d.file(), d.older)
	d.restart(d.victim)
	d.work(50)
	d.verify()
	d.stop()
	d.good = filepath.Join(d.dir, "good")
	copyDir(t, d.dataDir(d.victim), d.good)
	return d
}

// in returns the same for a subtest.
func (d *damaged) in(t *testing.T) *damaged {
	sub := *d
	sub.cluster = d.cluster.in(t)
	return &sub
}

// work runs n jobs that return their payloads, and keeps what they must return.
func (d *damaged) work(n int) {
	cl := d.client()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	for range n {
		payload := []byte("payload " + strings.Repeat(rota64(), 20))
		id, err := submitWith(cl, task.Spec{Handler: "rota.echo", SharedPayload: payload})(ctx, "job-"+rota64())
		require.NoError(d.t, err)
		d.truth[id] = payload
	}
	for id := range d.truth {
		info, err := cl.Job(id).Wait(ctx)
		require.NoError(d.t, err)
		require.Equal(d.t, task.JobSucceeded, info.State)
	}
}

// rota64 is 16 random letters.
func rota64() string {
	b := make([]byte, 16)
	for i := range b {
		b[i] = 'a' + byte(rand.IntN(26))
	}
	return string(b)
}

// file is the victim's state.db.
func (d *damaged) file() string { return filepath.Join(d.dataDir(d.victim), stateFile) }

// stop ends the victim by a signal, so that its state.db is complete.
func (d *damaged) stop() {
	d.t.Helper()
	require.NoError(d.t, d.victim.Signal(syscall.SIGTERM))
	require.Zero(d.t, d.ended(d.victim))
}

// reset gives the victim its good data folder again.
func (d *damaged) reset() {
	d.t.Helper()
	d.victim.Kill()
	require.NoError(d.t, os.RemoveAll(d.dataDir(d.victim)))
	copyDir(d.t, d.good, d.dataDir(d.victim))
}

// refused starts the victim and requires that it ends with exit code 1 and these words.
func (d *damaged) refused(words ...string) {
	d.t.Helper()
	before := d.logSize()
	require.NoError(d.t, d.victim.Start())
	require.Equal(d.t, 1, d.ended(d.victim), d.logFrom(before))
	text := d.logFrom(before)
	require.NotContains(d.t, text, "goroutine ", "it ended by a panic")
	last := text[strings.LastIndex(text, "rota: "):]
	d.t.Log(strings.TrimSpace(last))
	for _, w := range words {
		require.Contains(d.t, last, w)
	}
}

func (d *damaged) logSize() int64 {
	info, err := os.Stat(d.victim.LogFile)
	require.NoError(d.t, err)
	return info.Size()
}

func (d *damaged) logFrom(offset int64) string {
	data, err := os.ReadFile(d.victim.LogFile)
	require.NoError(d.t, err)
	return string(data[offset:])
}

// healed starts the victim and requires that it reaches the state of the others, and has
// every result itself.
func (d *damaged) healed() {
	d.t.Helper()
	d.restart(d.victim)
	d.verify()
	for id, want := range d.truth {
		got, err := d.outputAt(d.victim, id)
		require.NoError(d.t, err)
		require.Equal(d.t, want, got, "job %d", id)
	}
}

// outputAt asks one server, and no other, for the output of the only task of a job.
func (c *cluster) outputAt(p *localcluster.Process, id uint64) (out []byte, err error) {
	c.t.Helper()
	err = c.at(p, func(ctx context.Context, jobs rotav1.JobServiceClient) error {
		stream, err := jobs.StreamResults(ctx, &rotav1.StreamResultsRequest{JobId: id})
		if err != nil {
			return err
		}
		for {
			msg, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			for _, g := range msg.GetGroups() {
				out, _, _ = task.PackNext(g.GetPackedOutputs())
			}
		}
	})
	return out, err
}

// A server whose state.db is gone or old restores it from its log if the log is complete.
func TestOldAndMissingStateIsHealedFromTheLog(t *testing.T) {
	t.Parallel()
	d := damage(t)
	t.Run("missing", func(t *testing.T) {
		d := d.in(t)

		require.NoError(t, os.Remove(d.file()))
		d.healed()
		d.reset()
	})
	t.Run("older", func(t *testing.T) {
		d := d.in(t)

		copyFile(t, d.older, d.file())
		d.healed()
		d.reset()
	})
	t.Run("unharmed", func(t *testing.T) {
		d := d.in(t)
		d.healed()
	})
}

// A server whose state.db is old or gone refuses to start if its log does not have the
// rest any more. With an empty folder it joins as a new server.
func TestOldAndMissingStateIsRefusedBehindASnapshot(t *testing.T) {
	t.Parallel()
	d := damage(t, "--snapshot-bytes", "16384", "--trailing-bytes", "1")
	t.Run("missing", func(t *testing.T) {
		d := d.in(t)

		require.NoError(t, os.Remove(d.file()))
		d.refused(stateFile, "move the data folder away")
		d.reset()
	})
	t.Run("older", func(t *testing.T) {
		d := d.in(t)

		copyFile(t, d.older, d.file())
		d.refused(stateFile, "older than it may be", "move the data folder away")
	})
	t.Run("moved away", func(t *testing.T) {
		d := d.in(t)

		require.NoError(t, os.Rename(d.dataDir(d.victim), filepath.Join(d.dir, "away")))
		d.healed()
	})
}

// A server refuses a state.db of another server, one that is cut short, and one without its
// log. The message says why.
func TestForeignAndPartialFilesAreRefused(t *testing.T) {
	t.Parallel()
	d := damage(t)
	other := d.followers()[0]
	if other == d.victim {
		other = d.followers()[1]
	}
	for name, test := range map[string]struct {
		harm  func(t *testing.T)
		words []string
	}{
		"of another server": {func(t *testing.T) { copyFile(t, filepath.Join(d.dataDir(other), stateFile), d.file()) }, []string{"belongs to node " + other.Name}},
		"empty":             {func(t *testing.T) { require.NoError(t, os.Truncate(d.file(), 0)) }, []string{stateFile, "is empty"}},
		"cut short": {func(t *testing.T) {
			data, err := os.ReadFile(d.file())
			require.NoError(t, err)
			require.NoError(t, os.Truncate(d.file(), int64(used(data)/2)))
		}, []string{stateFile, "Move"}},
		"not a database": {func(t *testing.T) {
			require.NoError(t, os.WriteFile(d.file(), bytes.Repeat([]byte("nonsense"), 8192), 0o600))
		}, []string{stateFile, "Move"}},
		"without its log": {func(t *testing.T) {
			require.NoError(t, os.RemoveAll(filepath.Join(d.dataDir(d.victim), logFile)))
		}, []string{logFile}},
		"without its log and state": {func(t *testing.T) {
			require.NoError(t, os.RemoveAll(filepath.Join(d.dataDir(d.victim), logFile)))
			require.NoError(t, os.Remove(d.file()))
		}, []string{logFile}},
		"without its identity": {func(t *testing.T) {
			require.NoError(t, os.Remove(filepath.Join(d.dataDir(d.victim), "node.json")))
		}, []string{"node.json"}},
		"of another node": {func(t *testing.T) {
			require.NoError(t, os.RemoveAll(d.dataDir(d.victim)))
			copyDir(t, d.dataDir(other), d.dataDir(d.victim))
		}, []string{"belongs to node " + other.Name}},
	} {
		t.Run(name, func(t *testing.T) {
			d := d.in(t)
			defer d.reset()
			test.harm(t)
			d.refused(test.words...)
		})
	}
	t.Run("unharmed", func(t *testing.T) {
		d := d.in(t)
		d.healed()
	})
}

// logFile is the file of the log if no log store was chosen.
const logFile = "raft-wal"

// used is how many bytes of a file come before the zeros at its end: the file is larger
// than its content.
func used(data []byte) int { return len(bytes.TrimRight(data, "\x00")) }

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, data, 0o600))
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	require.NoError(t, os.CopyFS(to, os.DirFS(from)))
}
