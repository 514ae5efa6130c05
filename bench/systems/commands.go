package systems

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rota-scheduler/rota/bench/harness"
	"github.com/rota-scheduler/rota/internal/process"
)

// lineCommand is what is run for each line. It does next to nothing, so that the start
// of the process is what counts.
const lineCommand = "echo"

func executable(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0
}

func inputLines(load *harness.Load) string {
	var b strings.Builder
	for i := range load.Tasks {
		b.WriteString(harness.Line(i))
		b.WriteByte('\n')
	}
	return b.String()
}

// filter runs a program over the lines and returns what it wrote.
func filter(ctx context.Context, load *harness.Load, path string, args ...string) (string, harness.Measure, error) {
	cmd := exec.Command(path, args...)
	cmd.Stdin = strings.NewReader(inputLines(load))
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	start := time.Now()
	if err := process.Start(cmd); err != nil {
		return "", harness.Measure{}, fmt.Errorf("start %s: %w", path, err)
	}
	// What it has started is in its group.
	stop := context.AfterFunc(ctx, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer stop()
	if err := cmd.Wait(); err != nil {
		return "", harness.Measure{}, fmt.Errorf("%s: %w: %s", path, err, bytes.TrimSpace(errOut.Bytes()))
	}
	return out.String(), harness.Measure{Tasks: load.Tasks, Elapsed: time.Since(start)}, nil
}

// mapLines is rota map over the lines: what it prints is in the order of its input.
func (r *Rota) mapLines(ctx context.Context, load *harness.Load) (harness.Measure, error) {
	args := append([]string{"map"}, r.cluster.ClientFlags()...)
	out, m, err := filter(ctx, load, r.Binary, append(args, "--", lineCommand, "{}")...)
	if err == nil && out != inputLines(load) {
		err = errors.New("what rota map printed is not what the commands did, in the order of the lines")
	}
	return m, err
}

// Xargs is xargs -P: no scheduler at all.
type Xargs struct{}

// Name implements harness.System.
func (*Xargs) Name() string { return "xargs" }

// Check implements harness.System.
func (*Xargs) Check() error {
	if _, err := exec.LookPath("xargs"); err != nil {
		return errors.New("xargs is not installed: apt-get install findutils")
	}
	return nil
}

// Counterpart implements harness.System.
func (*Xargs) Counterpart(w harness.Workload) (string, bool) {
	if w == harness.Commands {
		return "xargs -P -n 1 echo, as many at once as the workers run together", true
	}
	return "it runs commands only", false
}

// Start implements harness.System.
func (*Xargs) Start(context.Context, string, harness.Load) error { return nil }

// Stop implements harness.System.
func (*Xargs) Stop(context.Context) error { return nil }

// Processes implements harness.System.
func (*Xargs) Processes() []harness.Process { return nil }

// Run implements harness.System.
func (*Xargs) Run(ctx context.Context, load harness.Load) (harness.Measure, error) {
	at := strconv.Itoa(harness.Workers * load.Slots)
	out, m, err := filter(ctx, &load, "xargs", "-P", at, "-n", "1", lineCommand)
	if err != nil {
		return m, err
	}
	// Its lines come in any order.
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	slices.Sort(lines)
	if strings.Join(lines, "\n")+"\n" != inputLines(&load) {
		err = errors.New("what xargs printed is not what the commands did")
	}
	return m, err
}
