package systems

import (
	"bufio"
	"context"
	_ "embed" // The script of the pools is part of this program.
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rota-scheduler/rota/bench/harness"
	"github.com/rota-scheduler/rota/internal/process"
)

// Python is one of Python's pools of two processes.
type Python struct {
	// Futures: concurrent.futures instead of multiprocessing.
	Futures bool

	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Reader
}

//go:embed pools.py
var poolsScript []byte

// Name implements harness.System.
func (p *Python) Name() string {
	if p.Futures {
		return "python-futures"
	}
	return "python-pool"
}

// Check implements harness.System.
func (*Python) Check() error {
	if _, err := exec.LookPath("python3"); err != nil {
		return errors.New("Python is not installed: run bench deps, or apt-get install python3")
	}
	return nil
}

// Counterpart implements harness.System.
func (p *Python) Counterpart(w harness.Workload) (string, bool) {
	kind := "multiprocessing.Pool(2)"
	if p.Futures {
		kind = "concurrent.futures.ProcessPoolExecutor(2)"
	}
	const lossy = ", which keeps nothing"
	switch w {
	case harness.Array, harness.Distinct, harness.Large:
		return kind + ".map, chunksize 1" + lossy, true
	case harness.Single:
		return kind + ", one call at a time" + lossy, true
	case harness.Clients:
		return kind + ", one call at a time from each thread" + lossy, true
	case harness.Commands:
		if p.Futures {
			return "concurrent.futures.ThreadPoolExecutor with subprocess.run, as many at once as the workers run together", true
		}
		return "concurrent.futures is measured for commands", false
	case harness.Failover:
	}
	return "it has no leader to lose", false
}

// Start implements harness.System.
func (p *Python) Start(_ context.Context, dir string, load harness.Load) error {
	path := filepath.Join(dir, "pools.py")
	if err := os.WriteFile(path, poolsScript, 0o600); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(dir, "python.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	kind := "pool"
	if p.Futures {
		kind = "futures"
	}
	p.cmd = exec.Command("python3", path, kind, string(load.Workload), fmt.Sprint(harness.Workers), fmt.Sprint(harness.Workers*load.Slots))
	p.cmd.Stderr = log
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	p.lines = bufio.NewReader(out)
	if err := process.Start(p.cmd); err != nil {
		return err
	}
	_, err = p.lines.ReadString('\n')
	return err
}

// pythonStop is how long the pool may take to end when its input has.
const pythonStop = 5 * time.Second

// Stop implements harness.System. The pool ends with its input.
func (p *Python) Stop(ctx context.Context) error {
	if p.cmd == nil || p.cmd.Process == nil {
		return nil
	}
	p.in.Close()
	done := make(chan struct{})
	go func() {
		// How it ended is of no interest any more.
		_ = p.cmd.Wait()
		close(done)
	}()
	ctx, cancel := context.WithTimeout(ctx, pythonStop)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
	}
	// What the pool has forked is in its group.
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-done
	p.cmd = nil
	return nil
}

// Processes implements harness.System.
func (p *Python) Processes() []harness.Process {
	return []harness.Process{{Role: "python", Pid: p.cmd.Process.Pid}}
}

type pythonRequest struct {
	Tasks   int    `json:"tasks"`
	Clients int    `json:"clients"`
	Round   uint32 `json:"round"`
}

type pythonAnswer struct {
	Seconds   float64   `json:"seconds"`
	Latencies []float64 `json:"latencies"`
	Error     string    `json:"error"`
}

// Run implements harness.System. The pool checks its results itself, after the time
// was taken.
func (p *Python) Run(ctx context.Context, load harness.Load) (harness.Measure, error) {
	request, err := json.Marshal(pythonRequest{Tasks: load.Tasks, Clients: load.Clients, Round: load.Round})
	if err != nil {
		return harness.Measure{}, err
	}
	if _, err := p.in.Write(append(request, '\n')); err != nil {
		return harness.Measure{}, err
	}
	type reply struct {
		line string
		err  error
	}
	replies := make(chan reply, 1)
	go func() {
		line, err := p.lines.ReadString('\n')
		replies <- reply{line, err}
	}()
	var r reply
	select {
	case r = <-replies:
	case <-ctx.Done():
		return harness.Measure{}, ctx.Err()
	}
	if r.err != nil {
		return harness.Measure{}, fmt.Errorf("the pool ended: %w", r.err)
	}
	var answer pythonAnswer
	if err := json.Unmarshal([]byte(r.line), &answer); err != nil {
		return harness.Measure{}, err
	}
	if answer.Error != "" {
		return harness.Measure{}, errors.New(answer.Error)
	}
	m := harness.Measure{Tasks: load.Tasks, Elapsed: time.Duration(answer.Seconds * float64(time.Second))}
	for _, l := range answer.Latencies {
		m.Latencies = append(m.Latencies, time.Duration(l*float64(time.Second)))
	}
	return m, nil
}
