package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/bench/child"
)

type named struct{ System }

type first struct{ named }

func (*first) Name() string { return "rota" }

type second struct{ named }

func (*second) Name() string { return "nats" }

type third struct{ named }

func (*third) Name() string { return "river" }

func TestEachPeerFollowsTheSubject(t *testing.T) {
	t.Parallel()
	steps := Plan([]System{&first{}}, []System{&second{}, &third{}}, 2, func(System) Load { return Load{} })
	var names []string
	pairs := map[int]int{}
	for _, s := range steps {
		names = append(names, s.System.Name())
		pairs[s.Pair]++
	}
	require.Equal(t, []string{"rota", "nats", "rota", "river", "rota", "nats", "rota", "river"}, names)
	require.Equal(t, map[int]int{0: 2, 1: 2, 2: 2, 3: 2}, pairs)
	require.Len(t, Plan([]System{&first{}}, nil, 3, func(System) Load { return Load{} }), 3)
}

func TestPayloadsAreTheirOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for round := range uint32(2) {
		load := Load{Workload: Distinct, Tasks: 1000, Round: round}
		for i := range load.Tasks {
			p := load.Payload(i)
			require.Len(t, p, smallBytes)
			require.False(t, seen[string(p)])
			seen[string(p)] = true
			at, ok := load.Index(IDOf(p))
			require.True(t, ok)
			require.Equal(t, i, at)
			require.Len(t, Work(p), ResultBytes)
		}
	}
	large := Load{Workload: Large, Tasks: 1}
	require.Len(t, large.Payload(0), LargeBytes)
	require.Equal(t, large.Payload(0), Work(large.Payload(0)))
	require.Nil(t, (&Load{Workload: Array, Tasks: 1}).Payload(0))
	require.Nil(t, Work(nil))
}

func TestIndexRefusesOtherRuns(t *testing.T) {
	t.Parallel()
	load := Load{Workload: Distinct, Tasks: 10, Round: 2}
	other := Load{Workload: Distinct, Tasks: 100, Round: 1}
	_, ok := load.Index(other.ID(3))
	require.False(t, ok)
	_, ok = load.Index(load.ID(10))
	require.False(t, ok)
}

func TestTallyFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	load := Load{Workload: Distinct, Tasks: 2}
	right := func(i int) []byte { return Work(load.Payload(i)) }
	tally := NewTally(&load, true)
	require.NoError(t, tally.Add(0, right(0)))
	require.ErrorContains(t, tally.Add(0, right(0)), "twice")
	require.ErrorContains(t, tally.Add(1, right(0)), "not the right")
	require.ErrorContains(t, tally.Add(2, right(0)), "there are 2 tasks")
	require.ErrorContains(t, tally.Complete(), "1 of 2")
	require.NoError(t, tally.Add(1, right(1)))
	require.NoError(t, tally.Complete())
	<-tally.Done()

	lenient := NewTally(&load, false)
	require.NoError(t, lenient.Add(0, right(0)))
	require.NoError(t, lenient.Add(0, right(0)))
	require.Equal(t, 1, lenient.Duplicates())
}

func TestStatOfAProcessWithAnOddName(t *testing.T) {
	t.Parallel()
	line := "42 (a) b) (c) S 7 42 42 0 -1 4194560 100 0 0 0 30 20 10 5 20 0 1 0 100 0 0"
	parent, used, err := parseStat([]byte(line))
	require.NoError(t, err)
	require.Equal(t, 7, parent)
	require.Equal(t, 65*tick, used)
	_, _, err = parseStat([]byte("42 (short) S 1"))
	require.Error(t, err)
}

func TestTreeAddsUpWhatAProcessHasStarted(t *testing.T) {
	t.Parallel()
	s := procStats{used: map[int]time.Duration{1: 1, 2: 10, 3: 100, 9: 1000}, children: map[int][]int{1: {2}, 2: {3}}}
	require.Equal(t, time.Duration(111), s.tree(1))
}

func TestDiskstats(t *testing.T) {
	t.Parallel()
	data := []byte(" 254 0 vda 1 2 3 4 5 6 10 8 9 10 11 0 0 0 0 77 5\n 254 1 vda1 1 2 3 4 5 6 20 8 9 10 11 0 0 0 0 0 0\n")
	require.Equal(t, Disk{Known: true, Flushes: 77, Written: 5120}, parseDiskstats(data, "254:0"))
	require.False(t, parseDiskstats(data, "8:0").Known)
	require.False(t, parseDiskstats([]byte(" 8 0 sda 1 2 3\n"), "8:0").Known)
}

func TestCPUOfChildrenThatEndedIsTheClients(t *testing.T) {
	before, err := readCPU(nil)
	require.NoError(t, err)
	require.NoError(t, exec.CommandContext(context.Background(), "sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").Run())
	after, err := readCPU([]Process{{Role: "self", Pid: os.Getpid()}})
	require.NoError(t, err)
	require.Greater(t, after.since(before)[ClientRole], 10*time.Millisecond)
	require.Contains(t, after, "self")
}

// broken runs well, and then is found to have broken a promise.
type broken struct{}

func (broken) Name() string                               { return "broken" }
func (broken) Check() error                               { return nil }
func (broken) Counterpart(Workload) (string, bool)        { return "", true }
func (broken) Start(context.Context, string, Load) error  { return nil }
func (broken) Stop(context.Context) error                 { return nil }
func (broken) Processes() []Process                       { return nil }
func (broken) Run(context.Context, Load) (Measure, error) { return Measure{Tasks: 1, Elapsed: 1}, nil }
func (broken) Verify(context.Context) error               { return ErrBroken }

func TestEvidenceOfABrokenPromiseIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := Once(context.Background(), broken{}, Load{Workload: Array, Tasks: 1}, Options{Dir: dir, Timeout: time.Minute})
	require.ErrorIs(t, err, ErrBroken)
	left, readErr := os.ReadDir(dir)
	require.NoError(t, readErr)
	require.Len(t, left, 1)
	require.ErrorContains(t, err, left[0].Name())
}

// shaky is a system that fails as it is told to.
type shaky struct {
	broken
	name string
	// starts and runs are what the calls return, one after the other; then nil.
	starts, runs []error
	started, ran int
}

func (s *shaky) Name() string { return s.name }

func (s *shaky) Start(context.Context, string, Load) error { return next(s.starts, &s.started) }

func (s *shaky) Run(context.Context, Load) (Measure, error) {
	return Measure{Tasks: 1, Elapsed: time.Second}, next(s.runs, &s.ran)
}

func (s *shaky) Verify(context.Context) error { return nil }

func next(errs []error, calls *int) error {
	*calls++
	if *calls > len(errs) {
		return nil
	}
	return errs[*calls-1]
}

var errShaky = errors.New("out of luck")

func silent(int, Step, *Run, error) {}

// failover has no warm-up: each run of a system is one call.
func plan(rounds int, subject System, peers ...System) []Step {
	return Plan([]System{subject}, peers, rounds, func(System) Load { return Load{Workload: Failover, Tasks: 1} })
}

func names(outcomes []Outcome) (list []string) {
	for _, o := range outcomes {
		list = append(list, o.Step.System.Name())
	}
	return list
}

func TestASystemWhosePortWasTakenIsStartedAgain(t *testing.T) {
	t.Parallel()
	taken := fmt.Errorf("wait for redis: %w", child.ErrPortTaken)
	again := 0
	o := Options{Dir: t.TempDir(), Timeout: time.Minute, Again: func(System, error) { again++ }}
	s := &shaky{name: "nats", starts: []error{taken, taken}}
	_, err := Once(t.Context(), s, Load{Workload: Failover}, o)
	require.NoError(t, err)
	require.Equal(t, 3, s.started)
	require.Equal(t, 2, again)

	s = &shaky{name: "nats", starts: []error{taken, taken, taken, taken}}
	_, err = Once(t.Context(), s, Load{Workload: Failover}, o)
	require.ErrorIs(t, err, child.ErrPortTaken)
	require.Equal(t, startTries, s.started)

	s = &shaky{name: "nats", starts: []error{errShaky}}
	_, err = Once(t.Context(), s, Load{Workload: Failover}, o)
	require.ErrorIs(t, err, errShaky)
	require.Equal(t, 1, s.started, "nothing says that another try would help")
}

func TestAPeerThatFailsEndsNoPlan(t *testing.T) {
	t.Parallel()
	rota := &shaky{name: "rota"}
	once, never := &shaky{name: "once", runs: []error{errShaky}}, &shaky{name: "never", runs: []error{errShaky, errShaky}}
	outcomes, failures := Execute(t.Context(), plan(3, rota, once, never), Options{Dir: t.TempDir(), Timeout: time.Minute}, silent)
	require.Equal(t, []string{"rota", "rota", "rota", "once", "rota", "rota", "once", "rota"}, names(outcomes))
	require.Len(t, failures, 3)
	require.Equal(t, "once", failures[0].System.Name())
	require.ErrorIs(t, failures[0].Err, errShaky)
	require.Equal(t, 2, never.ran, "it was tried again after it had failed twice")
}

func TestASubjectThatFailsKeepsWhatWasMeasuredBefore(t *testing.T) {
	t.Parallel()
	for name, why := range map[string]error{"failed": errShaky, "broke a promise": ErrBroken} {
		rota, nats := &shaky{name: "rota", runs: []error{nil, why}}, &shaky{name: "nats"}
		outcomes, failures := Execute(t.Context(), plan(3, rota, nats), Options{Dir: t.TempDir(), Timeout: time.Minute}, silent)
		require.Equal(t, []string{"rota", "nats"}, names(outcomes), name)
		require.Len(t, failures, 1, name)
		require.ErrorIs(t, failures[0].Err, why)
	}
}
