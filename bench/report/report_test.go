package report

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/bench/harness"
	"github.com/rota-scheduler/rota/bench/stats"
)

// fake is a system that is only there to be reported on.
type fake struct {
	name   string
	copies int
}

func (f *fake) Name() string { return f.name }
func (f *fake) Copies() int  { return f.copies }
func (*fake) Check() error   { return nil }
func (f *fake) Counterpart(w harness.Workload) (string, bool) {
	return f.name + " doing <" + string(w) + ">", true
}
func (*fake) Start(context.Context, string, harness.Load) error { return nil }
func (*fake) Stop(context.Context) error                        { return nil }
func (*fake) Processes() []harness.Process                      { return nil }
func (*fake) Run(context.Context, harness.Load) (harness.Measure, error) {
	return harness.Measure{}, errors.New("it is not to be run")
}

func outcome(s harness.System, pair, tasks int, seconds float64) harness.Outcome {
	elapsed := time.Duration(seconds * float64(time.Second))
	return harness.Outcome{
		Step: harness.Step{System: s, Pair: pair},
		Run: harness.Run{
			System: s.Name(), Measure: harness.Measure{Tasks: tasks, Elapsed: elapsed},
			CPU:  harness.CPU{"worker": elapsed / 2, "leader": elapsed},
			Disk: harness.Disk{Known: true, Flushes: 50, Written: 3_000_000},
		},
	}
}

// bundle is a report of two pairs: rota at 1000 and 500 tasks/s, nats at 100 and 200.
func bundle(w harness.Workload) *Report {
	rota, nats := &fake{"rota", 3}, &fake{"nats", 1}
	outcomes := []harness.Outcome{outcome(rota, 0, 1000, 1), outcome(nats, 0, 100, 1), outcome(rota, 1, 1000, 2), outcome(nats, 1, 400, 2)}
	for i := range outcomes {
		d := time.Duration(i+1) * 10 * time.Millisecond
		outcomes[i].Latencies = []time.Duration{d, 2 * d}
	}
	return New(w, []harness.System{rota}, []harness.System{nats}, outcomes, []Skipped{{"river", "PostgreSQL is not installed"}})
}

func TestRatiosAreOfNeighbouringRuns(t *testing.T) {
	t.Parallel()
	r := bundle(harness.Distinct)
	require.Equal(t, []Ratio{{Subject: "rota", Peer: "nats", Of: "tasks_per_s", Ratio: 6.25, Min: 2.5, Max: 10, Pairs: 2}}, r.Ratios)
	require.InDelta(t, 750, r.Systems[0].TasksPerS, 1e-9)
	require.Equal(t, stats.Spread{Median: 150, Min: 100, Max: 200}, r.Systems[1].Range)
}

func TestLatencyIsWhatRatiosOfSingleAreMadeOf(t *testing.T) {
	t.Parallel()
	r := bundle(harness.Single)
	require.Equal(t, "p50_ms", r.Ratios[0].Of)
	require.InDelta(t, 10.0/20, r.Ratios[0].Min, 1e-9)
	require.InDelta(t, 30.0/40, r.Ratios[0].Max, 1e-9)
	require.InDelta(t, 60, r.Systems[0].P99MS, 1e-9)
}

func TestCostsAreMediansForATask(t *testing.T) {
	t.Parallel()
	s := bundle(harness.Array).Systems[0]
	require.InDelta(t, 1500, s.CPUUSPerTask["leader"], 1e-9)
	require.InDelta(t, 750, s.CPUUSPerTask["worker"], 1e-9)
	require.InDelta(t, 50, *s.FlushesPer1000, 1e-9)
	require.InDelta(t, 3, *s.Runs[0].WrittenMB, 1e-9)
}

func TestDiskFactorCountsEveryCopy(t *testing.T) {
	t.Parallel()
	rota := &fake{"rota", 3}
	o := outcome(rota, 0, 100, 2)
	o.DiskRate = float64(100*harness.Large.Bytes()*3) / 1 // The disk alone would take a second.
	o.Disk = harness.Disk{}
	r := New(harness.Large, []harness.System{rota}, nil, []harness.Outcome{o}, nil)
	require.InDelta(t, 2, r.Systems[0].DiskFactor.Median, 1e-9)
	require.Nil(t, r.Systems[0].WrittenFactor, "the kernel did not count")
	o.Disk = harness.Disk{Known: true, Written: uint64(2.5 * o.DiskRate)}
	r = New(harness.Large, []harness.System{rota}, nil, []harness.Outcome{o}, nil)
	require.InDelta(t, 2/2.5, r.Systems[0].WrittenFactor.Median, 1e-9)
	var table bytes.Buffer
	require.NoError(t, r.Table(&table))
	require.Contains(t, table.String(), "2, of all written 0.8")
	require.Empty(t, r.Ratios)
}

func TestJSONHasTheFieldsThatArePromised(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, bundle(harness.Single).JSON(&out))
	var got struct {
		Workload string
		Systems  []map[string]any
		Ratios   []map[string]any
		Skipped  []map[string]any
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &got))
	require.Equal(t, "single", got.Workload)
	for _, field := range []string{"name", "tasks_per_s", "p50_ms", "p99_ms", "runs"} {
		require.Contains(t, got.Systems[0], field)
	}
	for _, field := range []string{"peer", "ratio", "min", "max"} {
		require.Contains(t, got.Ratios[0], field)
	}
	require.Equal(t, "river", got.Skipped[0]["name"])
}

func TestEmptyListsAreListsInJSON(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, New(harness.Array, nil, nil, nil, nil).JSON(&out))
	require.NotContains(t, out.String(), "null")
}

func TestTableNamesWhatWasLeftOut(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	r := bundle(harness.Distinct)
	r.Conditions = []string{"on slow disks"}
	require.NoError(t, r.Table(&out))
	require.Contains(t, out.String(), "together; on slow disks\n")
	require.Contains(t, out.String(), "not measured: river: PostgreSQL is not installed")
	require.Contains(t, out.String(), "rota / nats")
	require.Contains(t, out.String(), "leader 1,500, worker 750")
}

func TestTableOfAnOverloadSaysWhichBoundsWereKept(t *testing.T) {
	t.Parallel()
	rota := &fake{"rota", 3}
	o := outcome(rota, 0, 1000, 2)
	o.Overload = &harness.Overloaded{
		Clients: 77, Refused: 12, LeastDelay: 50 * time.Millisecond, MostDelay: time.Second, Large: 50, Drained: 3 * time.Second,
		PeakRSS: 100e6, RSSBound: 200e6, LeaderChanges: 2,
	}
	var out bytes.Buffer
	r := New(harness.Overload, []harness.System{rota}, nil, []harness.Outcome{o}, nil)
	require.NoError(t, r.Table(&out))
	for _, text := range []string{"1000", "50 to 1,000", "100 of 200: met", "2: MISSED"} {
		require.Contains(t, out.String(), text)
	}
	out.Reset()
	require.NoError(t, r.JSON(&out))
	require.Contains(t, out.String(), `"leader_changes": 2`)
}

func TestNumbersHaveThreeDigits(t *testing.T) {
	t.Parallel()
	for want, v := range map[string]float64{
		"0": 0, "1.23": 1.2345, "12.3": 12.345, "123": 123.4, "1,230": 1234, "1,230,000": 1234567, "0.0123": 0.012345, "-1,230": -1234,
	} {
		require.Equal(t, want, num(v))
	}
}

func wellFormed(t *testing.T, data []byte) {
	t.Helper()
	for d := xml.NewDecoder(bytes.NewReader(data)); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
	}
}

func TestSVGIsWellFormed(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	failover := bundle(harness.Failover)
	failover.Systems[0].Name = "rota <&> \"co\""
	require.NoError(t, SVG(&out, bundle(harness.Distinct), failover, New(harness.Array, nil, nil, nil, nil)))
	wellFormed(t, out.Bytes())
	require.Contains(t, out.String(), "ratio 6.25")
	require.NotContains(t, out.String(), "NaN")
	save(t, "run.svg", out.Bytes())
}

func TestGrowthOfNothingAndOfSomething(t *testing.T) {
	t.Parallel()
	point := func(size int, rate float64) Point {
		return Point{Size: size, Values: map[string]stats.Spread{GrowthRate: {Median: rate, Min: rate * .9, Max: rate * 1.1}, "restart s": {Median: 1, Min: 1, Max: 1}}}
	}
	g := &Growth{Study: "history", Unit: "finished tasks", Flat: true, Points: []Point{point(0, 1000), point(1000, 1100), point(1_000_000, 800)}}
	require.InDelta(t, .2, g.Loss(), 1e-9)
	require.InDelta(t, 1-800./1100, g.Spread(), 1e-9)
	require.Zero(t, (&Growth{}).Loss())
	require.Zero(t, (&Growth{}).Spread())
	var table, svg bytes.Buffer
	require.NoError(t, g.Table(&table))
	require.Contains(t, table.String(), "27 % below the fastest, and 20 % below the smallest; the mark for that is 25 %: met")
	require.NoError(t, GrowthSVG(&svg, g, &Growth{Study: "memory", Points: []Point{{Size: 1}}}, &Growth{Study: "one", Points: []Point{point(5, 10)}}))
	wellFormed(t, svg.Bytes())
	require.NotContains(t, svg.String(), "NaN")
	require.Contains(t, svg.String(), "tasks/s against finished tasks")
	require.Contains(t, svg.String(), "restart s against finished tasks")
	save(t, "growth.svg", svg.Bytes())
}

func TestMarksAreOfTheWorstSizeThatTheyAreFor(t *testing.T) {
	t.Parallel()
	point := func(size int, bytes float64) Point {
		return Point{Size: size, Values: map[string]stats.Spread{"B a task": {Median: bytes, Min: bytes, Max: bytes}}}
	}
	g := &Growth{Study: "memory", Points: []Point{point(10, 20), point(100, 40)}, Marks: []Mark{
		{Of: "B a task", AtMost: 32, UpTo: 10}, {Of: "B a task", AtMost: 39}, {Of: "not measured", AtMost: 1},
	}}
	var table bytes.Buffer
	require.NoError(t, g.Table(&table))
	require.Contains(t, table.String(), "B a task: 20 at most; the mark is 32: met")
	require.Contains(t, table.String(), "B a task: 40 at most; the mark is 39: MISSED")
	require.NotContains(t, table.String(), "not measured")

	flat := &Growth{Flat: true, Points: []Point{
		{Size: 1, Values: map[string]stats.Spread{GrowthRate: {Median: 100}}}, {Size: 2, Values: map[string]stats.Spread{GrowthRate: {Median: 70}}},
	}}
	table.Reset()
	require.NoError(t, flat.Table(&table))
	require.Contains(t, table.String(), "30 % below the smallest; the mark for that is 25 %: MISSED")
}

// save keeps a chart for people to look at.
func save(t *testing.T, name string, data []byte) {
	t.Helper()
	if dir := os.Getenv("BENCH_SAVE"); dir != "" {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
}

func TestRunsThatFailedAreToldOnALineEach(t *testing.T) {
	t.Parallel()
	r := bundle(harness.Distinct)
	r.Fail([]harness.Failure{{Step: harness.Step{System: &fake{"nats", 1}, Pair: 2}, Err: errors.New("start nats: out of luck\nend of its log")}})
	var table, data bytes.Buffer
	require.NoError(t, r.Table(&table))
	require.Contains(t, table.String(), "failed: nats in pair 3: start nats: out of luck\n")
	require.NotContains(t, table.String(), "end of its log")
	require.NoError(t, r.JSON(&data))
	require.Contains(t, data.String(), `"failed": [`)
}
