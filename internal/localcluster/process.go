package localcluster

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/rota-scheduler/rota/internal/process"
)

// probeTimeout bounds one question whether a server is ready.
const probeTimeout = time.Second

// Process is a server or a worker. Its Name is the node id of a server, or the name of a worker.
type Process struct {
	*process.Process
	// Addr, PeerAddr and HTTPAddr are those of a server.
	Addr, PeerAddr, HTTPAddr string

	// scheme and probes are how the HTTP port of a server is asked.
	scheme string
	probes *http.Client
}

// WaitReady waits until a server says that it is ready.
func (p *Process) WaitReady(ctx context.Context) error {
	return p.Await(ctx, "server "+p.Name, func(ctx context.Context) error {
		reason, err := p.Ready(ctx)
		if err == nil && reason != "" {
			err = errors.New(reason)
		}
		return err
	})
}

// Ready returns why the server is not ready; "": it is.
func (p *Process) Ready(ctx context.Context) (reason string, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.scheme+"://"+p.HTTPAddr+"/readyz", nil)
	if err != nil {
		return "", err
	}
	resp, err := p.probes.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return "", err
	}
	if resp.StatusCode == http.StatusOK {
		return "", nil
	}
	return strings.TrimSpace(string(body)), nil
}
