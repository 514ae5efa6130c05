package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	rpprof "runtime/pprof"
	"sync"

	"github.com/google/pprof/profile"
)

// Profiled is a System whose processes tell what they do.
type Profiled interface {
	// ProfileURLs is where, by role: addresses of net/http/pprof.
	ProfileURLs() (map[string][]string, error)
}

// profiler takes the CPU profiles of a run, second by second, since nobody knows how long
// it will take.
type profiler struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	self   bytes.Buffer

	mu    sync.Mutex
	taken map[string][]*profile.Profile
	errs  []error
}

// startProfiles begins to profile the processes of s and this one, the client.
func startProfiles(ctx context.Context, s Profiled) (*profiler, error) {
	urls, err := s.ProfileURLs()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &profiler{cancel: cancel, taken: map[string][]*profile.Profile{}}
	if err := rpprof.StartCPUProfile(&p.self); err != nil {
		cancel()
		return nil, fmt.Errorf("profile the client: %w", err)
	}
	for role, list := range urls {
		for _, url := range list {
			p.wg.Go(func() { p.follow(ctx, role, url) })
		}
	}
	return p, nil
}

// follow takes one profile after the other, until ctx ends; the last one is completed.
func (p *profiler) follow(ctx context.Context, role, url string) {
	for ctx.Err() == nil {
		one, err := fetchProfile(url + "/debug/pprof/profile?seconds=1")
		p.mu.Lock()
		if err != nil {
			p.errs = append(p.errs, fmt.Errorf("profile a %s: %w", role, err))
		} else {
			p.taken[role] = append(p.taken[role], one)
		}
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func fetchProfile(url string) (*profile.Profile, error) {
	resp, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", resp.Status, body)
	}
	return profile.ParseData(body)
}

// stop ends the profiles and writes one for each role: DIR/SYSTEM-WORKLOAD-ROLE.pprof.
func (p *profiler) stop(dir, system string, w Workload) error {
	rpprof.StopCPUProfile()
	p.cancel()
	p.wg.Wait()
	client, err := profile.Parse(&p.self)
	if err != nil {
		return fmt.Errorf("profile the client: %w", err)
	}
	p.taken[ClientRole] = append(p.taken[ClientRole], client)
	errs := p.errs
	for role, list := range p.taken {
		merged, err := profile.Merge(list)
		if err != nil {
			errs = append(errs, fmt.Errorf("merge the profiles of the %s: %w", role, err))
			continue
		}
		errs = append(errs, writeProfile(filepath.Join(dir, fmt.Sprintf("%s-%s-%s.pprof", system, w, role)), merged))
	}
	return errors.Join(errs...)
}

func writeProfile(path string, p *profile.Profile) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write a profile: %w", err)
	}
	return errors.Join(p.Write(f), f.Close())
}
