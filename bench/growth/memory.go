package growth

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rota-scheduler/rota/bench/rotacluster"
)

const (
	bytesPerArrayTask    = "array B a task"
	bytesPerDistinctTask = "distinct 64 B, B a task"
	bytesPerFinishedTask = "finished B a task"
	distinctRSS          = "RSS MB with distinct, as a user runs it"

	// eager makes Go collect garbage often, so that its heap is what is in use.
	eager = "GOGC=10"
	// lessEager is for what needs the whole CPU: servers that collect all the time do
	// not keep up with the hellos of thousands of workers, and elect leaders instead.
	lessEager = "GOGC=50"
	// settle is how long a heap is watched for its lowest size.
	settle, settleEvery = 2 * time.Second, 100 * time.Millisecond
)

// memory measures what pending tasks, and as many finished ones, cost a server: for each
// kind the growth of the heap in servers that collect eagerly, and the resident set in
// servers that run as users run them.
func memory(ctx context.Context, l *lab, size int) (map[string]float64, error) {
	values := map[string]float64{}
	for _, kind := range []struct {
		name     string
		distinct bool
	}{{bytesPerArrayTask, false}, {bytesPerDistinctTask, true}} {
		used, err := l.heapOf(ctx, size, kind.distinct)
		if err != nil {
			return nil, err
		}
		values[kind.name] = used / float64(size)
	}
	finished, err := l.heapOfFinished(ctx, size)
	if err != nil {
		return nil, err
	}
	values[bytesPerFinishedTask] = finished / float64(size)
	rss, err := l.rssOf(ctx, size)
	values[distinctRSS] = rss / mega
	return values, err
}

// heapOf is how much the leader's heap grows by so many pending tasks.
func (l *lab) heapOf(ctx context.Context, size int, distinct bool) (float64, error) {
	if err := l.begin(ctx, setup{workers: -1, env: []string{eager}}); err != nil {
		return 0, err
	}
	leader, err := l.leader(ctx)
	if err != nil {
		return 0, err
	}
	before, err := heap(ctx, leader)
	if err != nil {
		return 0, err
	}
	if _, err := l.fill(ctx, size, distinct); err != nil {
		return 0, err
	}
	after, err := heap(ctx, leader)
	return max(0, after-before), err
}

// heapOfFinished is how much the leader's heap has grown when so many tasks with payloads of their own have
// finished. An earlier job has made what any first job makes: buffers, and classes of tasks.
func (l *lab) heapOfFinished(ctx context.Context, size int) (float64, error) {
	if err := l.begin(ctx, setup{env: []string{eager}}); err != nil {
		return 0, err
	}
	if _, err := l.measured(ctx); err != nil {
		return 0, err
	}
	leader, err := l.leader(ctx)
	if err != nil {
		return 0, err
	}
	before, err := heap(ctx, leader)
	if err != nil {
		return 0, err
	}
	if err := l.finish(ctx, size, true); err != nil {
		return 0, err
	}
	after, err := heap(ctx, leader)
	return max(0, after-before), err
}

// rssOf is the largest resident set of a server with so many distinct pending tasks.
func (l *lab) rssOf(ctx context.Context, size int) (float64, error) {
	if err := l.begin(ctx, setup{workers: -1}); err != nil {
		return 0, err
	}
	if _, err := l.fill(ctx, size, true); err != nil {
		return 0, err
	}
	most := 0.0
	for _, s := range l.cluster.Servers {
		m, err := metrics(ctx, s)
		if err != nil {
			return 0, err
		}
		most = max(most, m["process_resident_memory_bytes"])
	}
	return most, nil
}

// begin starts a cluster in place of the one before.
func (l *lab) begin(ctx context.Context, s setup) error {
	l.close()
	if err := os.RemoveAll(filepath.Join(l.dir, "cluster")); err != nil {
		return err
	}
	return l.start(ctx, s)
}

// addMemory adds what the leader has in memory.
func (l *lab) addMemory(ctx context.Context, values map[string]float64) error {
	leader, err := l.leader(ctx)
	if err != nil {
		return err
	}
	m, err := metrics(ctx, leader)
	if err != nil {
		return err
	}
	values[leaderRSS] = m["process_resident_memory_bytes"] / mega
	values[leaderHeap] = m["go_memstats_heap_alloc_bytes"] / mega
	return nil
}

// heap is the lowest size of a server's heap within a while.
func heap(ctx context.Context, s *rotacluster.Process) (float64, error) {
	least := 0.0
	for end := time.Now().Add(settle); time.Now().Before(end); time.Sleep(settleEvery) {
		m, err := metrics(ctx, s)
		if err != nil {
			return 0, err
		}
		if v := m["go_memstats_heap_alloc_bytes"]; least == 0 || v < least {
			least = v
		}
	}
	return least, nil
}

// metrics reads the metrics of a server that have no labels.
func metrics(ctx context.Context, s *rotacluster.Process) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.HTTPAddr+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read the metrics of %s: %w", s.Name, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read the metrics of %s: %s", s.Name, resp.Status)
	}
	values := map[string]float64{}
	for scan := bufio.NewScanner(resp.Body); scan.Scan(); {
		name, text, ok := strings.Cut(scan.Text(), " ")
		if !ok || strings.HasPrefix(name, "#") || strings.Contains(name, "{") {
			continue
		}
		if v, err := strconv.ParseFloat(text, 64); err == nil {
			values[name] = v
		}
	}
	return values, nil
}

// dataFile is a file in the data folder of a server.
func (l *lab) dataFile(s *rotacluster.Process, name string) string {
	return filepath.Join(l.dir, "cluster", s.Name, name)
}

// fileMB is the size of a file; 0: there is none.
func fileMB(path string) float64 {
	st, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return float64(st.Size()) / mega
}
