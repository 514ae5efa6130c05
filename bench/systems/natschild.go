package systems

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rota-scheduler/rota/bench/child"
	"github.com/rota-scheduler/rota/bench/harness"
)

type natsServerConfig struct{ File string }

// natsServer is one server, as the nats-server program would be with this file.
func natsServer(ctx context.Context, cfg natsServerConfig) error {
	options, err := server.ProcessConfigFile(cfg.File)
	if err != nil {
		return err
	}
	options.NoSigs = true
	if !options.SyncAlways {
		return errors.New("the server would not sync each write")
	}
	s, err := server.NewServer(options)
	if err != nil {
		return err
	}
	s.SetLoggerV2(natsLog{}, false, false, false)
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		return errors.New("the server does not accept connections")
	}
	err = child.Serve(ctx)
	s.Shutdown()
	return err
}

// natsLog writes what matters to the process's log.
type natsLog struct{}

func (natsLog) Noticef(format string, v ...any) { natsLogf("info", format, v...) }
func (natsLog) Warnf(format string, v ...any)   { natsLogf("warning", format, v...) }
func (natsLog) Errorf(format string, v ...any)  { natsLogf("error", format, v...) }
func (natsLog) Debugf(string, ...any)           {}
func (natsLog) Tracef(string, ...any)           {}

// Fatalf ends the process, as that of nats-server does: nobody waits for what will not come.
func (natsLog) Fatalf(format string, v ...any) {
	natsLogf("fatal", format, v...)
	os.Exit(1)
}

func natsLogf(level, format string, v ...any) {
	fmt.Fprintf(os.Stderr, level+": "+format+"\n", v...)
}

type natsWorkerConfig struct {
	URLs     string
	Workload harness.Workload
}

// natsWorkerAtOnce bounds the messages that a worker has in hand.
const natsWorkerAtOnce = 2048

// natsWorker takes tasks, publishes their results and then acknowledges them.
func natsWorker(ctx context.Context, cfg natsWorkerConfig) error {
	// The answer to a publish is lost with the leader: nobody would tell.
	lost := time.Minute
	if cfg.Workload == harness.Failover {
		lost = time.Second
	}
	conn, js, err := natsConnect(ctx, cfg.URLs, jetstream.WithPublishAsyncTimeout(lost))
	if err != nil {
		return err
	}
	defer conn.Close()
	consumer, err := js.Consumer(ctx, taskStream, natsConsumer)
	if err != nil {
		return err
	}
	slots := make(chan struct{}, natsWorkerAtOnce)
	handle := func(m jetstream.Msg) {
		slots <- struct{}{}
		var future jetstream.PubAckFuture
		if payload := m.Data(); len(payload) > 0 {
			if future, err = js.PublishAsync("results", packResult(payload)); err != nil {
				natsLogf("error", "publish a result: %v", err)
				<-slots
				return
			}
		}
		go func() {
			defer func() { <-slots }()
			if err := natsSettle(ctx, js, m, future); err != nil {
				natsLogf("error", "%v", err)
			}
		}()
	}
	consuming, err := consumer.Consume(handle, natsPull(cfg.Workload)...)
	if err != nil {
		return err
	}
	defer consuming.Stop()
	return child.Serve(ctx)
}

// natsSettle acknowledges a task when its result is stored. Without a result, the
// acknowledgement is what must be stored.
func natsSettle(ctx context.Context, js jetstream.JetStream, m jetstream.Msg, future jetstream.PubAckFuture) error {
	if future == nil {
		return m.DoubleAck(ctx)
	}
	select {
	case <-future.Ok():
		return m.Ack()
	case err := <-future.Err():
		// A server was lost. The result is kept and tried again; the task would come
		// again only after its time for acknowledgement.
		id := binary.BigEndian.Uint64(future.Msg().Data)
		natsLogf("warning", "publish the result of %x again: %v", id, err)
		retry, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		return child.Poll(retry, func() error {
			probe, cancel := context.WithTimeout(retry, 250*time.Millisecond)
			defer cancel()
			if _, err := js.Publish(probe, "results", future.Msg().Data); err != nil {
				return err
			}
			return m.Ack()
		})
	case <-ctx.Done():
		return ctx.Err()
	}
}
