package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/bench/growth"
	"github.com/rota-scheduler/rota/bench/systems"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	err := root().ExecuteContext(ctx)
	if ctx.Err() != nil && !isChild() {
		fmt.Fprintln(os.Stderr, "bench: interrupted; everything that was started has been stopped")
		os.Exit(130)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// isChild says that this process serves another one, which asks it to end by a signal.
func isChild() bool { return len(os.Args) > 1 && os.Args[1] == childVerb }

const childVerb = "child"

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "bench",
		Short:         "Measure Rota and its peers side by side",
		SilenceErrors: true, SilenceUsage: true,
	}
	cmd.AddCommand(runCmd(), turnsCmd(), growthCmd(), catchupCmd(), depsCmd(), childCmd())
	return cmd
}

// childCmd is this program as a process of a peer, or as simulated workers.
func childCmd() *cobra.Command {
	return &cobra.Command{
		Use: childVerb + " ROLE CONFIG", Hidden: true, Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			roles := systems.Children()
			for role, run := range growth.Children() {
				roles[role] = run
			}
			run, ok := roles[args[0]]
			if !ok {
				return fmt.Errorf("there is no role %q", args[0])
			}
			return run(cmd.Context(), []byte(args[1]))
		},
	}
}
