package suite

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/jepsen-tests/checker"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

func op(t *testing.T, f history.F, kind history.Type, value any) history.Op {
	t.Helper()
	raw, err := json.Marshal(value)
	require.NoError(t, err)
	return history.Op{F: f, Type: kind, Value: raw}
}

func TestASummaryCountsWhatWasAcknowledgedAndRefused(t *testing.T) {
	t.Parallel()
	ops := []history.Op{
		op(t, history.FSubmit, history.Invoke, history.Submit{}),
		op(t, history.FSubmit, history.OK, history.Submitted{Job: 1}),
		op(t, history.FSubmit, history.OK, history.Submitted{Conflict: true}),
		op(t, history.FAppend, history.OK, history.Appended{Total: 1}),
		op(t, history.FAppend, history.OK, history.Appended{Refused: true}),
		op(t, history.FSubmit, history.Info, history.Submitted{}),
		op(t, history.FRead, history.OK, history.JobRead{}),
		op(t, history.FRefused, history.Info, history.Refused{Reports: 5}),
	}
	row, err := Summarize(ops, checker.Report{
		Verdict: checker.Invalid, Counts: checker.Counts{Ops: 9, Infos: 1, Leaders: 3, Faults: 4, Effective: 2},
		Results: []checker.Result{
			{Name: "S1", Verdict: checker.Invalid, Problems: []string{"job 1 is lost", "job 2 is lost"}},
			{Name: "S2", Verdict: checker.Valid}, {Name: "vacuity", Verdict: checker.Unknown, Note: "too little"},
		},
	})
	require.NoError(t, err)
	require.Equal(t, Row{
		Verdict: checker.Invalid, Submits: 2, Calls: 9, Unknown: 1, Leaders: 3, Faults: 4, Effective: 2, Refused: 5,
		Wrong: []string{"S1 invalid: job 1 is lost", "vacuity unknown: too little"},
	}, row)
}

func TestASummaryIsATableForPeopleAndADocument(t *testing.T) {
	t.Parallel()
	rows := []Row{
		{Workload: "queue", Nemesis: "kill", LogStore: "wal", Servers: 3, Seed: 7, Verdict: checker.Valid, Submits: 100, Calls: 120, Faults: 3, Effective: 3, Command: "go run . test --seed 7"},
		{Workload: "serial", Nemesis: "power", Servers: 5, Seed: 8, Verdict: checker.Invalid, Submits: 10, Refused: 4, Wrong: []string{"S1 invalid: job 3\nis lost"}, Command: "go run . test --seed 8"},
	}
	var table, document bytes.Buffer
	require.NoError(t, WriteTable(&table, rows, time.Minute))
	require.Regexp(t, `(?m)^queue +kill +3 +wal +7 +valid +100 +120 `, table.String())
	require.Contains(t, table.String(), "2 tests in 1m0s: 1 valid, 1 invalid, 0 unknown; 120 calls, 110 acknowledged submits")
	require.NoError(t, WriteMarkdown(&document, rows, "rota 1.2", time.Minute))
	require.Contains(t, document.String(), "rota 1.2. 2 tests in 1m0s")
	require.Contains(t, document.String(), "| serial | power | 5 |  | 8 | invalid | 10 | 0 | 0 | 0 | 0 (0) | 4 |\n")
	require.Contains(t, document.String(), "- S1 invalid: job 3 is lost\n")
	require.Contains(t, document.String(), "go run . test --seed 7\ngo run . test --seed 8\n")
	for line := range strings.Lines(document.String()) {
		if strings.HasPrefix(line, "|") {
			require.Equal(t, len(columns)+1, strings.Count(line, "|"), line)
		}
	}
}

func TestASummarySaysHowSoonSubmitsWentOn(t *testing.T) {
	t.Parallel()
	rows := []Row{{Recoveries: []time.Duration{3 * time.Second, time.Millisecond}}, {}, {Recoveries: []time.Duration{20 * time.Millisecond}}}
	require.Contains(t, Totals(rows, time.Minute), "median 20ms, p99 3s, longest 3s of 3, 1 later than 2s (allowed: 1)")
	require.Contains(t, Totals(nil, time.Minute), "no recovery was measured")
	many := slices.Repeat([]time.Duration{time.Second}, 198)
	rows = append(rows, Row{Recoveries: many})
	late, allowed := checker.Late(Recoveries(rows))
	require.Equal(t, []int{1, 3}, []int{late, allowed})
}

func TestRefusedReportsAreAddedUpOverRestarts(t *testing.T) {
	t.Parallel()
	var r refusals
	r.add(0, 3)
	r.add(3, 5)
	r.add(5, 2) // it was started again
	require.Equal(t, int64(7), r.total)
}

func TestSomeFaultsNeedTasksThatTakeTheirTime(t *testing.T) {
	t.Parallel()
	all := []string{"queue", "register", "serial"}
	require.Equal(t, all, Fitting(all, "kill"))
	require.Equal(t, []string{"queue", "serial"}, Fitting(all, "worker-pause"))
}

func TestOfManyTestsTheDocumentHasACellEach(t *testing.T) {
	t.Parallel()
	var rows []Row
	for seed := range uint64(maxRows) {
		rows = append(rows, Row{Workload: "queue", Nemesis: "kill", LogStore: "wal", Servers: 5, Seed: seed, Verdict: checker.Valid, Submits: 7, Command: "go run . test"})
	}
	rows = append(rows, Row{Workload: "serial", Nemesis: "power", LogStore: "boltdb", Servers: 3, Seed: 8, Verdict: checker.Invalid, Wrong: []string{"S1 invalid: job 3 is lost"}})
	var document bytes.Buffer
	require.NoError(t, WriteMarkdown(&document, rows, "rota 1.2", time.Minute))
	text := document.String()
	require.Contains(t, text, "## 3 servers\n")
	require.Contains(t, text, "| power |  | **invalid** (8 boltdb) |\n")
	require.Contains(t, text, "| kill | 7 (0 wal); 7 (1 wal); ")
	require.Contains(t, text, "- S1 invalid: job 3 is lost")
	require.Equal(t, 1, strings.Count(text, "go run . test\n"))
}
