//go:build !linux

package guard

import (
	"context"
	"time"
)

var processStart = time.Now()

// BootNow is the time since this process was started. It may stand still while the machine is
// suspended, which harms nobody where there is no exclusive work.
func BootNow() time.Duration { return time.Since(processStart) }

// Client has no guard.
type Client struct{}

// NewClient makes a client.
func NewClient(Config) *Client { return &Client{} }

// HoldAgent returns ErrUnsupported.
func (*Client) HoldAgent() (release func(), err error) { return nil, ErrUnsupported }

// Extend does nothing: there is no exclusive work.
func (*Client) Extend() error { return nil }

// Tend does nothing.
func (*Client) Tend(context.Context) {}

// Close does nothing.
func (*Client) Close() {}
