package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"
)

func main() { os.Exit(mainCode()) }

func mainCode() int {
	ctx, stop := interruptible()
	defer stop()
	a := &app{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Getenv,
		inTTY: isTerminal(os.Stdin), outTTY: isTerminal(os.Stdout), errTTY: isTerminal(os.Stderr),
	}
	return a.run(ctx, os.Args[1:])
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// sameSignal is how long further signals count as the first one: timeout(1) and
// shells send one to a process and once more to its group.
const sameSignal = 200 * time.Millisecond

// interruptible returns a context that the first signal ends. The second signal ends
// the process at once, whatever it is doing.
func interruptible() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		// Not under nohup, which wants the process to go on.
		signals = append(signals, syscall.SIGHUP)
	}
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, signals...)
	go func() {
		first := time.Now()
		for n := 0; ; n++ {
			<-ch
			switch {
			case n == 0:
				first = time.Now()
				cancel(errInterrupted)
			case time.Since(first) > sameSignal:
				os.Exit(exitInterrupted)
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}
