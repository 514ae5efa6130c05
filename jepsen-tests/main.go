// Command jepsen-tests harms a cluster of real Rota processes and checks what it promised.
//
//	jepsen-tests test --workload queue --nemesis kill,partition:one --time-limit 30s
//	jepsen-tests test-all            every workload under every kind of fault
//	jepsen-tests analyze FOLDER      check a stored run again
//	jepsen-tests mutants             broken builds, each of which must be caught
//	jepsen-tests doctor              what this machine can do
//	jepsen-tests serve               the store of runs, in a browser
//
// The exit code is 0 for valid, 1 for invalid, 2 for unknown, 254 for bad flags, and 255 for an error of the harness
// itself. The program follows Jepsen's example, and is not Jepsen: its histories can be exported (history.edn) for
// Jepsen's own checkers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/rota-scheduler/rota/jepsen-tests/checker"
)

// The exit codes, as Jepsen's.
const (
	exitValid   = 0
	exitInvalid = 1
	exitUnknown = 2
	exitFlags   = 254
	exitHarness = 255
)

// errUsage is in the chain of errors about flags and arguments.
var errUsage = errors.New("see --help")

// verb is one thing that the program does.
type verb struct {
	name, about string
	run         func(ctx context.Context, args []string, out io.Writer) (checker.Verdict, error)
}

var verbs = []verb{
	{"test", "run one test", testVerb},
	{"test-all", "run every workload under every kind of fault", testAllVerb},
	{"analyze", "check a stored run again", analyzeVerb},
	{"mutants", "run broken builds, each of which must be caught", mutantsVerb},
	{"doctor", "say what this machine can do", doctorVerb},
	{"serve", "show the store of runs in a browser", serveVerb},
}

func main() {
	// A second signal ends the process at once, and the kernel all its children.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:], os.Stdout)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, out io.Writer) int {
	for _, v := range verbs {
		if len(args) > 0 && args[0] == v.name {
			return exitCode(v.run(ctx, args[1:], out))
		}
	}
	fmt.Fprintln(os.Stderr, "usage: jepsen-tests VERB [flags]")
	for _, v := range verbs {
		fmt.Fprintf(os.Stderr, "  %-10s %s\n", v.name, v.about)
	}
	return exitFlags
}

func exitCode(verdict checker.Verdict, err error) int {
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitValid
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "jepsen-tests:", err)
		return exitFlags
	case err != nil:
		fmt.Fprintln(os.Stderr, "jepsen-tests:", err)
		return exitHarness
	case verdict == checker.Invalid:
		return exitInvalid
	case verdict == checker.Unknown:
		return exitUnknown
	default:
		return exitValid
	}
}
