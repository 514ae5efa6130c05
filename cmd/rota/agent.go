package main

import (
	"context"
	"net"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/worker"
)

// workerFlags are the flags of worker start.
type workerFlags struct {
	log           logFlags
	config        string
	name, dataDir string
	profiles      string
	slots         int
	labels        []string
	queues        []string
	stopTimeout   time.Duration
	// logBytes and allLogBytes are how much to keep of what one command prints, and of all of them.
	logBytes, allLogBytes int64
}

func (a *app) workerStartCmd() *cobra.Command {
	var w workerFlags
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Start a worker",
		Long: "Starts one worker. It runs commands, and the handlers rota.noop, rota.square,\n" +
			"rota.sleep and rota.echo.\n\n" +
			"SIGTERM or SIGINT stops it: it gives back the tasks that it has not started, and lets\n" +
			"running tasks finish. A second signal ends it at once.",
		Example: "  rota worker start --name w1 --slots 4 --label disk=ssd\n  rota worker start --config /etc/rota/rota.yaml",
		Args:    wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.configured(cmd.Flags(), w.config, workerSection); err != nil {
				return err
			}
			if err := a.chooseCredentials(cmd.Flags()); err != nil {
				return err
			}
			return a.runWorker(cmd.Context(), &w)
		},
	}
	w.add(cmd.Flags())
	return cmd
}

func (w *workerFlags) add(f *pflag.FlagSet) {
	configFlag(f, &w.config)
	f.StringVar(&w.name, "name", "", "name of the worker, for people; empty: the name of the host")
	f.IntVar(&w.slots, "slots", 0, "how many tasks run at once; 0: one for each CPU")
	f.StringArrayVar(&w.labels, "label", nil, "label that jobs can require, k=v; may be repeated")
	f.StringSliceVar(&w.queues, "queues", nil, "queues to take tasks from, as q,q; empty: all")
	f.StringVar(&w.dataDir, "data-dir", "", "folder for the worker's identity, so that it lasts across restarts, and for the working directories of commands; empty: a new identity each time, and directories below TMPDIR")
	isPath(f, "data-dir")
	f.DurationVar(&w.stopTimeout, "stop-timeout", worker.DefaultStopTimeout, "how long running tasks may take to finish when the worker is asked to end; 0s: no time")
	f.Int64Var(&w.logBytes, "log-bytes", 0, "bytes to keep of what one command prints, for rota job logs (default 16 MiB)")
	f.Int64Var(&w.allLogBytes, "log-bytes-total", 0, "bytes to keep of what all commands print, in --data-dir or below TMPDIR as long as the worker runs (default 1 GiB)")
	f.StringVar(&w.profiles, "pprof", "", "loopback address to serve profiles of this process on, below /debug/pprof/; empty: none")
	w.log.add(f)
}

// runWorker runs a worker until ctx ends.
func (a *app) runWorker(ctx context.Context, w *workerFlags) error {
	cfg, err := w.workerConfig(a)
	if err != nil {
		return err
	}
	if w.profiles != "" {
		stop, err := serveProfiles(w.profiles, cfg.Logger)
		if err != nil {
			return err
		}
		defer stop()
	}
	tls, err := a.tls.open(cfg.Logger)
	if err != nil {
		return err
	}
	if opts := a.dialOptions(tls); opts != nil {
		cfg.Dial = func(addr string) (*grpc.ClientConn, error) { return wire.Dial(addr, opts...) }
	}
	if a.tls.insecure {
		cfg.Logger.Warn("connections are in plain text: whoever is between this worker and the servers can run commands here; use certificates, and leave out --insecure")
	}
	if tls != nil {
		watching, stop := context.WithCancel(ctx)
		var done sync.WaitGroup
		done.Go(func() { tls.Run(watching) })
		defer func() { stop(); done.Wait() }()
	}
	relaxGC()
	agent, err := worker.New(cfg)
	if err != nil {
		return usageOf(err)
	}
	a.notify(cfg.Logger, notifyReady)
	defer context.AfterFunc(ctx, func() { a.notify(cfg.Logger, notifyStopping) })()
	return agent.Run(ctx)
}

// workerConfig makes the configuration of the worker, and finds mistakes in the flags before anything is opened.
func (w *workerFlags) workerConfig(a *app) (worker.Config, error) {
	addrs, err := wire.ParseAddrs(a.addr)
	if err != nil {
		return worker.Config{}, usageOf(err)
	}
	logger, err := w.log.logger(a.err)
	if err != nil {
		return worker.Config{}, err
	}
	labels, err := parsePairs("label", w.labels)
	if err != nil {
		return worker.Config{}, err
	}
	switch {
	case w.slots < 0 || w.slots > task.MaxSlots:
		return worker.Config{}, usagef("--slots %d is out of range: use 1 to %d", w.slots, task.MaxSlots)
	case w.logBytes < 0 || w.allLogBytes < 0:
		return worker.Config{}, usagef("--log-bytes and --log-bytes-total must not be negative")
	case w.stopTimeout < 0:
		return worker.Config{}, usagef("--stop-timeout %v is negative: 0s stops running tasks at once", w.stopTimeout)
	}
	if w.profiles != "" {
		if err := checkLoopback("--pprof", w.profiles); err != nil {
			return worker.Config{}, err
		}
	}
	name, stopTimeout := w.name, w.stopTimeout
	if name == "" {
		// Without a host name the worker has its id only.
		name, _ = os.Hostname()
	}
	if stopTimeout == 0 {
		stopTimeout = -1 // no time at all; 0 is the default
	}
	return worker.Config{
		Addrs: addrs, Resolver: net.DefaultResolver, Name: name, Slots: w.slots, Labels: jsonv1.Map(labels), Queues: w.queues, DataDir: w.dataDir,
		Handlers: builtinHandlers, Commands: true, Logger: logger.With("worker", name), Version: version,
		StopTimeout: stopTimeout, LogBytes: w.logBytes, AllLogBytes: w.allLogBytes,
	}, nil
}
