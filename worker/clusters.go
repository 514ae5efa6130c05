package worker

import (
	"context"

	"github.com/rota-scheduler/rota/wire"
)

// naming has the hello name the servers that this worker was given, until one of them has welcomed it: see
// package wire. Tasks of two clusters would come in turns otherwise.
func (w *Worker) naming(ctx context.Context) context.Context {
	if w.agreed {
		return ctx
	}
	return wire.WithAddrs(ctx, w.link.configured)
}

// sameCluster asks the servers that this worker was given whether they are of one cluster, where one of
// them does not know all others. Nothing is said of it any more where they are.
func (w *Worker) sameCluster(ctx context.Context) error {
	if err := wire.AskClusters(ctx, w.link.configured, w.source); err != nil {
		return err
	}
	w.agreed = true
	return nil
}
