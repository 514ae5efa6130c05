package worker_test

import (
	"context"
	"fmt"
	"log"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/rota-scheduler/rota/worker"
)

// A worker of your own is a program with handlers, which jobs name. SIGTERM ends it in good order: tasks that wait
// are given back, and tasks that run may finish.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	w, err := worker.New(worker.Config{
		Addrs: []string{"127.0.0.1:7420", "127.0.0.1:7430", "127.0.0.1:7440"},
		Name:  "squares",
		Slots: 8,
		Handlers: map[string]worker.Handler{
			"square": func(ctx context.Context, t *worker.Task) ([]byte, error) {
				n, err := strconv.Atoi(string(t.Payload))
				if err != nil {
					return nil, fmt.Errorf("not a number: %w", err)
				}
				return strconv.AppendInt(nil, int64(n)*int64(n), 10), nil
			},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := w.Run(ctx); err != nil {
		log.Print(err)
	}
}
