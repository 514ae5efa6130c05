// Package ledger is what the commands of tasks write when they run: who ran, under which
// fencing token, in the order in which it really happened.
//
// All commands append to one file, a line at a time, which the kernel keeps whole and in order. So if a command goes
// on although its task was given away, its lines come after those of its successor, under a lower token: no clock is
// needed to see it.
package ledger

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// Env names the variable that tells commands where the ledger is, Rounds the one that says
// how many times 50 ms they work; without it, four.
const (
	Env    = "LEDGER"
	Rounds = "ROUNDS"
)

// Script is a command that writes into the ledger when it starts, a few times while it
// works, and when it ends. SIGTERM and SIGKILL end it wherever it is.
const Script = `
note() { echo "$1 $ROTA_JOB_ID $ROTA_TASK_INDEX $ROTA_ATTEMPT $ROTA_FENCE" >>"$LEDGER"; }
note start
i=0
while [ $i -lt ${ROUNDS:-4} ]; do sleep 0.05; note on; i=$((i + 1)); done
note end
echo "fence=$ROTA_FENCE"`

// FailingScript is a command that fails with each attempt that has an odd number.
const FailingScript = `
note() { echo "$1 $ROTA_JOB_ID $ROTA_TASK_INDEX $ROTA_ATTEMPT $ROTA_FENCE" >>"$LEDGER"; }
note start
sleep 0.05
note end
echo "fence=$ROTA_FENCE"
[ $((ROTA_ATTEMPT % 2)) = 0 ]`

// Read reads a ledger. A file that is not there is one that nobody wrote into.
func Read(path string) (history.Ledger, error) {
	var l history.Ledger
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return l, fmt.Errorf("read the ledger: %w", err)
	}
	defer file.Close()
	in := bufio.NewScanner(file)
	for in.Scan() {
		var line history.LedgerLine
		if _, err := fmt.Sscan(in.Text(), &line.What, &line.Job, &line.Index, &line.Attempt, &line.Token); err != nil {
			return l, fmt.Errorf("line %d of the ledger, %q: %w", len(l.Lines)+1, in.Text(), err)
		}
		l.Lines = append(l.Lines, line)
	}
	return l, in.Err()
}
