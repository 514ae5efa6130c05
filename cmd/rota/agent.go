package main

import (
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/worker"
)

// workerStartCmd is worker start.
func (a *app) workerStartCmd() *cobra.Command {
	var (
		log           logFlags
		name, dataDir string
		profiles      string
		slots         int
		labels        []string
		queues        []string
		stopTimeout   time.Duration
	)
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Start a worker",
		Long: "Starts one worker. It runs commands, and the handlers rota.noop, rota.square,\n" +
			"rota.sleep and rota.echo.\n\n" +
			"SIGTERM or SIGINT ends it in good order: it gives waiting tasks back and lets running\n" +
			"tasks finish. A second one ends it at once.",
		Example: "  rota worker start --name w1 --slots 4 --label disk=ssd",
		Args:    wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			addrs, err := wire.ParseAddrs(a.addr)
			if err != nil {
				return usageOf(err)
			}
			logger, err := log.logger(a.err)
			if err != nil {
				return err
			}
			pairs, err := parsePairs("label", labels)
			if err != nil {
				return err
			}
			if slots < 0 || slots > task.MaxSlots {
				return usagef("--slots %d is out of range: use 1 to %d", slots, task.MaxSlots)
			}
			if stopTimeout < 0 {
				return usagef("--stop-timeout %v is negative: 0s stops running tasks at once", stopTimeout)
			}
			if stopTimeout == 0 {
				stopTimeout = -1 // no time at all
			}
			if profiles != "" {
				if err := checkLoopback("--pprof", profiles); err != nil {
					return err
				}
				stop, err := serveProfiles(profiles, logger)
				if err != nil {
					return err
				}
				defer stop()
			}
			if name == "" {
				// Without a host name the worker has its id only.
				name, _ = os.Hostname()
			}
			relaxGC()
			w, err := worker.New(worker.Config{
				Addrs: addrs, Name: name, Slots: slots, Labels: jsonv1.Map(pairs), Queues: queues, DataDir: dataDir,
				Handlers: builtinHandlers, Commands: true, Logger: logger.With("worker", name), Version: version,
				StopTimeout: stopTimeout,
			})
			if err != nil {
				return usageOf(err)
			}
			return w.Run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "name of the worker, for people; empty: the name of the host")
	f.IntVar(&slots, "slots", 0, "how many tasks run at once; 0: one for each CPU")
	f.StringArrayVar(&labels, "label", nil, "label that jobs can require, k=v; may be repeated")
	f.StringSliceVar(&queues, "queues", nil, "queues to take tasks from, as q,q; empty: all")
	f.StringVar(&dataDir, "data-dir", "", "folder for the worker's identity, so that it lasts across restarts, and for the working directories of commands; empty: a new identity each time, and directories below TMPDIR")
	f.DurationVar(&stopTimeout, "stop-timeout", worker.DefaultStopTimeout, "how long running tasks may take to finish when the worker is asked to end; 0s: no time")
	f.StringVar(&profiles, "pprof", "", "loopback address to serve profiles of this process on, below /debug/pprof/; empty: none")
	log.add(f)
	return cmd
}
