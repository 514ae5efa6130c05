package systems

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rota-scheduler/rota/bench/harness"
)

// resultHeader is the number of the task, in front of each result.
const resultHeader = 8

func packResult(payload []byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, harness.IDOf(payload)), harness.Work(payload)...)
}

// natsResults receives results and gives each to who waits for it.
type natsResults struct {
	consuming jetstream.ConsumeContext
	failed    chan error

	mu      sync.Mutex
	load    *harness.Load
	add     func(i int, result []byte) error
	waiting map[uint64]chan []byte
}

func newNATSResults() *natsResults {
	return &natsResults{failed: make(chan error, 1), waiting: map[uint64]chan []byte{}}
}

// consume begins to receive. An ordered consumer needs no acknowledgements and goes on
// where it stopped: it is the cheapest that delivers each result.
func (r *natsResults) consume(ctx context.Context, js jetstream.JetStream, w harness.Workload) error {
	consumer, err := js.OrderedConsumer(ctx, resultStream, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return fmt.Errorf("consume results: %w", err)
	}
	r.consuming, err = consumer.Consume(r.received, natsPull(w)...)
	return err
}

func (r *natsResults) stop() {
	if r.consuming != nil {
		r.consuming.Stop()
	}
}

// expect gives the results of a load to add.
func (r *natsResults) expect(load *harness.Load, add func(i int, result []byte) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.load, r.add = load, add
}

// wait returns where the result of one task will come.
func (r *natsResults) wait(id uint64) <-chan []byte {
	c := make(chan []byte, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting[id] = c
	return c
}

func (r *natsResults) received(m jetstream.Msg) {
	data := m.Data()
	if len(data) < resultHeader {
		r.fail(fmt.Errorf("a result of %d bytes came", len(data)))
		return
	}
	id, result := harness.IDOf(data), data[resultHeader:]
	r.mu.Lock()
	waiting, load, add := r.waiting[id], r.load, r.add
	delete(r.waiting, id)
	r.mu.Unlock()
	if waiting != nil {
		waiting <- result
		return
	}
	if add == nil {
		return
	}
	// Results of the run before are of no interest any more.
	if i, ok := load.Index(id); ok {
		if err := add(i, result); err != nil {
			r.fail(err)
		}
	}
}

func (r *natsResults) fail(err error) {
	select {
	case r.failed <- err:
	default:
	}
}
