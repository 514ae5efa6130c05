package history

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestARecordedHistoryIsReadAsItWas(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history.jsonl")
	r, err := NewRecorder(path)
	require.NoError(t, err)
	r.Record(Op{Type: Invoke, F: FSubmit, Process: 3, Node: "c1"}, Submit{Key: "k", Tasks: 2})
	r.Record(Op{Type: OK, F: FSubmit, Process: 3, Node: "c1"}, Submitted{Job: 1 << 60})
	r.Note(Nemesis, FFault, "", Fault{Kind: "kill", Targets: []string{"n1"}})

	// It is on disk before it is closed, because a harness may be killed.
	ops, err := ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, r.Ops(), ops)
	require.NoError(t, r.Close())

	calls, err := Calls[Submit, Submitted](ops, FSubmit)
	require.NoError(t, err)
	require.Len(t, calls, 1)
	require.Equal(t, OK, calls[0].Type)
	require.Equal(t, uint64(1<<60), calls[0].Out.Job)
}

func TestALineThatWasCutOffIsLeftOut(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history.jsonl")
	r, err := NewRecorder(path)
	require.NoError(t, err)
	r.Note(Observer, FPhase, "", Phase{Name: "quiet"})
	r.Note(Observer, FPhase, "", Phase{Name: "faults"})
	require.NoError(t, r.Close())
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	ops, err := Read(bytes.NewReader(data[:len(data)-4]))
	require.NoError(t, err)
	require.Len(t, ops, 1)
}

func TestAHistoryWithAHoleIsRefused(t *testing.T) {
	t.Parallel()
	_, err := Read(strings.NewReader(`{"index":0,"time":1,"type":"info","f":"phase","process":-2}` + "\n" +
		`{"index":2,"time":2,"type":"info","f":"phase","process":-2}` + "\n"))
	require.ErrorContains(t, err, "ops are missing")
}

func TestACallWithoutAnEndIsInfo(t *testing.T) {
	t.Parallel()
	calls, err := Calls[Submit, Submitted]([]Op{{Type: Invoke, F: FSubmit}}, FSubmit)
	require.NoError(t, err)
	require.Equal(t, Info, calls[0].Type)
	require.Equal(t, int64(9), calls[0].End(9))
}

func TestAProcessDoesOneThingAtATime(t *testing.T) {
	t.Parallel()
	_, err := Calls[Submit, Submitted]([]Op{{Type: Invoke, F: FSubmit}, {Index: 1, Type: Invoke, F: FSubmit}}, FSubmit)
	require.ErrorContains(t, err, "has not ended")
	_, err = Calls[Submit, Submitted]([]Op{{Type: OK, F: FSubmit}}, FSubmit)
	require.ErrorContains(t, err, "has not begun")
}

func TestEDNKeepsNumbersAndNamesKeywords(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history.jsonl")
	r, err := NewRecorder(path)
	require.NoError(t, err)
	r.Record(Op{Type: OK, F: FSubmit, Process: 7}, Submitted{Job: 1<<63 + 1})
	r.Note(Nemesis, FHeal, "", Fault{Kind: "kill", Targets: []string{"n1", "n2"}})
	require.NoError(t, r.Close())
	var out bytes.Buffer
	require.NoError(t, WriteEDN(&out, r.Ops()))
	require.Contains(t, out.String(), `:type :ok, :f :submit, :value {:job 9223372036854775809}, :process 7}`)
	require.Contains(t, out.String(), `:value {:kind "kill", :targets ["n1" "n2"]}, :process :nemesis}`)
}
