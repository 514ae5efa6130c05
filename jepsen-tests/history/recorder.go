package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// maxLine bounds one op in a file, bytes: final reads have every result of a server.
const maxLine = 256 << 20

// Recorder writes a history as it happens. It is safe for use by many goroutines.
type Recorder struct {
	start time.Time

	mu   sync.Mutex
	file *os.File
	ops  []Op
	// err is the first failure to write: a history with a hole proves nothing.
	err error
}

// NewRecorder begins a history in a new file.
func NewRecorder(path string) (*Recorder, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("begin the history: %w", err)
	}
	return &Recorder{start: time.Now(), file: file}, nil
}

// Record adds an op, whose index and time are set here, and returns it.
func (r *Recorder) Record(op Op, value any) Op {
	var raw json.RawMessage
	var failed error
	if value != nil {
		raw, failed = json.Marshal(value)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	op.Index, op.Time, op.Value = len(r.ops), time.Since(r.start).Nanoseconds(), raw
	r.ops = append(r.ops, op)
	line, err := json.Marshal(op)
	if err == nil {
		_, err = r.file.Write(append(line, '\n'))
	}
	if err = errors.Join(failed, err); err != nil && r.err == nil {
		r.err = fmt.Errorf("record op %d (%s): %w", op.Index, op.F, err)
	}
	return op
}

// Elapsed is the time of an op that would be recorded now.
func (r *Recorder) Elapsed() int64 { return time.Since(r.start).Nanoseconds() }

// Note records what the harness did or saw.
func (r *Recorder) Note(process int, f F, node string, value any) {
	r.Record(Op{Type: Info, F: f, Process: process, Node: node}, value)
}

// Ops returns what was recorded so far.
func (r *Recorder) Ops() []Op {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Op(nil), r.ops...)
}

// Close ends the history. It fails if any op could not be written.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.err, r.file.Close())
}

// ReadFile reads a history. A last line that was cut off is left out: the harness was
// killed while it wrote it.
func ReadFile(path string) ([]Op, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	defer file.Close()
	return Read(file)
}

// Read reads a history.
func Read(from io.Reader) ([]Op, error) {
	var ops []Op
	lines := bufio.NewReaderSize(from, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return ops, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the history: %w", err)
		}
		if len(line) > maxLine {
			return nil, fmt.Errorf("line %d of the history has %d bytes, the limit is %d", len(ops)+1, len(line), maxLine)
		}
		var op Op
		if err := json.Unmarshal(line, &op); err != nil {
			return nil, fmt.Errorf("line %d of the history: %w", len(ops)+1, err)
		}
		if op.Index != len(ops) {
			return nil, fmt.Errorf("line %d of the history has index %d: ops are missing", len(ops)+1, op.Index)
		}
		ops = append(ops, op)
	}
}
