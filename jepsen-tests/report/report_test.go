package report

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/jepsen-tests/checker"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

func TestThePageShowsVerdictsFaultsAndTheCommand(t *testing.T) {
	t.Parallel()
	ops, err := history.ReadFile(filepath.Join("..", "testdata", "L1", "bad-too-late.jsonl"))
	require.NoError(t, err)
	rep, err := checker.Check(ops)
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, Write(&out, ops, rep, "chaos test --seed 7 <&>"))
	page := out.String()
	require.Contains(t, page, `<span class="invalid">invalid</span>`)
	require.Contains(t, page, "it took 9s to the next acknowledgement")
	require.Contains(t, page, `<circle class="ok"`)
	require.Contains(t, page, "chaos test --seed 7 &lt;&amp;&gt;")
	require.NotContains(t, page, "http", "it needs nothing from elsewhere")
}

// note is an op of the harness at so many seconds.
func note(t *testing.T, second int64, f history.F, node string, value any) history.Op {
	t.Helper()
	raw, err := json.Marshal(value)
	require.NoError(t, err)
	return history.Op{Type: history.Info, F: f, Process: history.Observer, Node: node, Time: second * 1e9, Value: raw}
}

func TestThePlotShowsWhoLedAndWhatWasDoneToWhom(t *testing.T) {
	t.Parallel()
	setup := history.Setup{Servers: []string{"n1", "n2"}, Workers: []string{"w1"}}
	ops := []history.Op{
		note(t, 0, history.FSetup, "", setup),
		note(t, 0, history.FLeader, "n1", history.Leader{Leader: "n1", Term: 1}),
		note(t, 2, history.FFault, "", history.Fault{Kind: "disk:eio"}),
		note(t, 3, history.FExit, "n1", history.Exit{Name: "n1", Code: 1, Excused: true}),
		note(t, 4, history.FLeader, "n2", history.Leader{Leader: "n2", Term: 2}),
		note(t, 4, history.FLeader, "n1", history.Leader{Leader: "n1", Term: 1}),
		note(t, 6, history.FHeal, "", history.Fault{Kind: "disk:eio", Targets: []string{"n1", "raft.db"}, Effect: 3}),
		note(t, 7, history.FFault, "", history.Fault{Kind: "worker-kill"}),
		note(t, 8, history.FExit, "w1", history.Exit{Name: "w1", Code: 2}),
		{Type: history.Invoke, F: history.FSubmit, Process: 1, Time: 8e9},
		{Type: history.OK, F: history.FSubmit, Process: 1, Time: 9e9},
		note(t, 9, history.FPhase, "", history.Phase{Name: "drain"}),
		note(t, 10, history.FPhase, "", history.Phase{Name: "done"}),
	}
	p, err := newChart(ops, setup)
	require.NoError(t, err)
	require.Len(t, p.Lanes, 3)
	var leads, hits []bar
	for _, b := range p.Bars {
		if b.Class == "lead" {
			leads = append(leads, b)
		} else {
			hits = append(hits, b)
		}
	}
	require.Len(t, leads, 2, "word of an older term is no news")
	require.Equal(t, p.Lanes[0].Y, leads[0].Y)
	require.Equal(t, p.Lanes[1].Y, leads[1].Y)
	require.InDelta(t, p.x(4e9), leads[0].X+leads[0].W, 1)
	require.Len(t, hits, 1, "a file has no lane")
	require.InDelta(t, p.x(6e9), hits[0].X+hits[0].W, 0.01)
	require.Equal(t, "hit disk", hits[0].Class)
	require.Equal(t, []string{"excused", "invalid"}, []string{p.Exits[0].Class, p.Exits[1].Class})
	require.Equal(t, "worker-kill", p.Bands[1].Name)
	require.InDelta(t, p.x(10e9), p.Bands[1].X+p.Bands[1].W, 0.01, "a fault that was not healed lasts to the end")
	require.Len(t, p.Dots, 1)
	require.InDelta(t, p.latency(1000), p.Dots[0].Y, 0.01)
	require.Len(t, p.Rates, 1)
	require.Len(t, p.Phases, 1, "the last one has no room")
	require.Equal(t, "drain", p.Phases[0].Text)
}
