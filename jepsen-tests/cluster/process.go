package cluster

import (
	"bufio"
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/rota-scheduler/rota/internal/process"
	"github.com/rota-scheduler/rota/jepsen-tests/clock"
	"github.com/rota-scheduler/rota/jepsen-tests/network"
)

// stopTimeout is how long a process may take to end in good order.
const stopTimeout = 15 * time.Second

// Process is a server or a worker, which can be started again after it has ended.
type Process struct {
	*process.Process
	Host *network.Host
	// Clock is its wall clock; nil: this machine's.
	Clock *clock.Skew
}

// Stop ends the process in good order, and kills it if that takes too long. Its exit code does not matter, because a
// fault may have hit it in the meantime.
func (p *Process) Stop(ctx context.Context) error {
	if err := p.Process.Stop(ctx); errors.Is(err, process.ErrKilled) {
		return err
	}
	return nil
}

// maxAlarms bounds the lines that are reported of one log.
const maxAlarms = 5

// Alarms counts the lines of the log and returns those that no log may have.
func (p *Process) Alarms() (lines int, alarms []string, err error) {
	file, err := os.Open(p.LogFile)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, err
	}
	defer file.Close()
	in := bufio.NewScanner(file)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		lines++
		line := in.Text()
		for _, bad := range []string{"panic: ", "fatal error: ", "WARNING: DATA RACE"} {
			if strings.Contains(line, bad) && len(alarms) < maxAlarms {
				alarms = append(alarms, line)
			}
		}
	}
	return lines, alarms, in.Err()
}
