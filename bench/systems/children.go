package systems

import (
	"context"
	"encoding/json"
	"fmt"
)

// The roles of this program as a child of itself.
const (
	roleNATSServer  = "nats-server"
	roleNATSWorker  = "nats-worker"
	roleRiverWorker = "river-worker"
	roleAsynqWorker = "asynq-worker"
)

// Child is this program in one role, with its configuration as JSON.
type Child func(ctx context.Context, cfg []byte) error

// Children is the roles that the systems start this program in.
func Children() map[string]Child {
	return map[string]Child{
		roleNATSServer:  configured(natsServer),
		roleNATSWorker:  configured(natsWorker),
		roleRiverWorker: configured(riverWorker),
		roleAsynqWorker: configured(asynqWorker),
	}
}

func configured[T any](run func(ctx context.Context, cfg T) error) Child {
	return func(ctx context.Context, data []byte) error {
		var cfg T
		if err := json.Unmarshal(data, &cfg); err != nil {
			return fmt.Errorf("read the configuration: %w", err)
		}
		return run(ctx, cfg)
	}
}
