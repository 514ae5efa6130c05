package jsonv1_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/api/jsonv1"
)

var update = flag.Bool("update", false, "write the golden files anew: look at each difference, because v1 only gets new fields")

func ptr[T any](v T) *T { return &v }

// fullValues returns a value of each type with all of its fields set. Some of these fields exclude each other otherwise.
func fullValues() []any {
	at := ptr(time.Date(2030, 1, 31, 18, 0, 0, 250_000_000, time.UTC))
	usage := jsonv1.Usage{PeakMemoryBytes: 7 << 20, CPUMS: 1200}
	input := jsonv1.TaskInput{Input: "<a> & é", InputBase64: "/w=="}
	other := jsonv1.TaskID{Job: 41, Task: 3}
	attempt := jsonv1.TaskAttempt{
		Attempt: 1, State: "failed", Reason: "exit-code", Worker: "w1", Token: 99, ExitCode: ptr(3), Error: "exit code 3",
		Stderr: `why\xff`, StderrMissing: 9, GrantedAt: at, EndedAt: at, Usage: usage,
	}
	failure := jsonv1.Failure{Task: 7, TaskAttempt: attempt}
	counts := jsonv1.TaskCounts{
		Total: 36, Blocked: 1, Scheduled: 2, Pending: 3, Assigned: 4, Stopping: 5, Succeeded: 6, Failed: 7, Cancelled: 8, Running: 2, Retrying: 1,
	}
	server := jsonv1.Server{
		ID: "n1", Addr: "127.0.0.1:7420", PeerAddr: "127.0.0.1:7421", HTTPAddr: "127.0.0.1:7422", State: "leader", Voter: true, AppliedIndex: 9,
		LastContactMS: 12, Version: "v1.0", Term: 4, ServerID: "ab", Problem: "its disk is full", KnowsVersion: 4,
		CommitIndex: 10, Lag: 1, DiskFreeBytes: ptr(uint64(5 << 30)), CertificateExpiresAt: at,
	}
	change := jsonv1.ServerChange{ID: "n4", ServerID: "cd", Voter: true, Removed: true, Voters: 4, Note: "use an odd number"}
	digest := jsonv1.Digest{ID: "n1", Index: 9, Digest: "00000000000000ff", Error: "no answer", Violations: []string{"a count differs"}}
	running := jsonv1.RunningTask{Job: 42, Task: 7, RunMS: 1500}
	spread := jsonv1.Spread{Median: 2.5, Min: 1, Max: 4}
	workload := jsonv1.BenchWorkload{Workload: "single", Tasks: 500, Runs: 3, TasksPerSecond: spread, SubmitPerSecond: spread, P50MS: &spread, P99MS: &spread}
	return []any{
		usage, input, other, attempt, failure, counts, server, change, digest, running, spread, workload,
		jsonv1.Job{
			ID: 42, Name: "nightly", Queue: "default", State: "failed", Reason: "exit-code", Tasks: counts,
			Handler: "resize", Command: []string{"echo", "hi"}, Env: map[string]string{"A": "1"}, Cwd: "/srv", Stdout: "file:/a/{task}",
			Execution: "serial", Alloc: "least-loaded", MaxParallel: 4, Priority: -5, MaxAttempts: 3, TimeoutMS: 1500, RetentionMS: 3_600_000,
			Require: map[string]string{"disk": "ssd"}, Meta: map[string]string{"by": "cron"},
			SubmittedAt: at, StartedAt: at, FinishedAt: at, StartsAt: at, RetryOf: 41, Missing: []string{"no worker has the label disk=ssd"},
			LastFailure: &failure, Key: "k", Open: true, Cancelling: true, AppliedIndex: 9, Stale: true,
		},
		jsonv1.Submitted{ID: 42, Existed: true},
		jsonv1.Cancelled{ID: 42, Cancelled: 3, Stopping: 1},
		jsonv1.Task{
			Job: 42, Task: 7, State: "running", Reason: "timeout", Attempt: 2, Token: 100, Worker: "w1", RunMS: 1500, NotBefore: at, Value: 70,
			TaskInput: input, InputBytes: 300, RetryOf: &other, Attempts: []jsonv1.TaskAttempt{attempt},
		},
		jsonv1.Result{
			Job: 42, Task: 7, State: "failed", Reason: "exit-code", Attempt: 2, Token: 100, Worker: "w1", ExitCode: ptr(3),
			Output: "headtail", OutputBase64: "/w==", OutputMissing: 1 << 40, OutputHead: 4, Error: "exit code 3", Stderr: `why\xff`, StderrBase64: "d2h5/w==", StderrMissing: 9,
			FinishedAt: at, Value: 70, TaskInput: input, InputCut: true, RetryOf: &other, Usage: usage, Cursor: "AQID",
		},
		jsonv1.Log{
			Job: 42, Task: 7, Attempt: 2, Token: 100, Worker: "w1", Stream: "stderr", ReadAt: at, Text: "a line", TextBase64: "/w==", Partial: true,
			Missing: 1 << 40, Event: "ended", Note: "it does not answer", Ended: &attempt,
		},
		jsonv1.Status{Leader: "n1", Term: 4, Servers: []jsonv1.Server{server}, ClusterID: "c", AppliedIndex: 9, Waiting: "1 of 3 servers are there", ActiveVersion: 3},
		jsonv1.Leader{Leader: "n1", Term: 4},
		jsonv1.Event{
			Kind: "job.cancelling", HappenedAt: at, Index: 7, Cursor: "AQ", Job: 42, Jobs: 1, Tasks: 2, Task: ptr(uint32(1)), RetryOf: 41, Name: "n", Queue: "q",
			State: "cancelled", Reason: "user", Session: 3, Worker: "id", WorkerName: "w", Graceful: true, Server: "n1", Addr: "127.0.0.1:7420", Version: 3, Count: 5,
		},
		jsonv1.Verification{OK: true, Index: 9, Servers: []jsonv1.Digest{digest}},
		jsonv1.Worker{
			ID: "i", Name: "w1", Session: 3, Connected: true, Unhealthy: "no space left", Draining: true, Slots: 4, Assigned: 2, Running: 1,
			Labels: map[string]string{"disk": "ssd"}, Queues: []string{"q"}, Handlers: []string{"h"}, Commands: true, Version: "v1.0",
			OpenedAt: at, LastBeatMS: 5, Tasks: []jsonv1.RunningTask{running},
		},
		jsonv1.Version{Version: "v1.0"},
		jsonv1.Setting{Process: "server", Key: "join", Values: []string{"a.example:7420"}, From: "file", Source: "/etc/rota/rota.yaml", Line: 3},
		jsonv1.ConfigCheck{OK: true, Mistakes: []string{"rota.yaml, line 3: unknown key"}},
		jsonv1.Certificate{
			File: "tls/a/server.crt", KeyFile: "tls/a/server.key", CA: true, TrustDomain: "rota", Role: "server", Name: "a", Hosts: []string{"a", "::1"},
			Subject: "a", Issuer: "Rota CA", Serial: "7f", StartsAt: at, ExpiresAt: at, SHA256: "ff",
		},
		jsonv1.Snapshot{
			File: "rota.backup", Bytes: 4096, TakenAt: at, NodeID: "n1", Version: "v1.0", ClusterID: "ab", Incarnation: "00000000000000ff", Index: 90, Term: 4,
			EntryAt: at, Digest: "00000000000000fe", LogVersion: 4, StateFormat: 5, Jobs: 42, UnfinishedJobs: 3, RequestKeys: 7, Sessions: 2, NextJob: 43,
			NextToken: 99, Servers: []string{"n1", "n2"}, StateBytes: 1 << 20,
		},
		jsonv1.NewCluster{
			DataDir: "restored", ClusterID: "cd", NodeID: "n1", ServerID: "ef", FromCluster: "ab", FromIndex: 90, Index: 7_000_000_000, Term: 1004,
			NextJob: 28_000_000_000, NextToken: 890_000_000_000, LogVersion: 4, UnfinishedJobs: 3, Sessions: 2, AccessTokens: []string{"ab12 (ci)"},
		},
		jsonv1.Survey{
			DataDir: "data", ClusterID: "ab", NodeID: "n1", ServerID: "ef", Voters: []string{"n1", "n2", "n3"}, Others: []string{"n4"},
			AppliedIndex: 90, LastIndex: 95, LastTerm: 4, StateBytes: 1 << 20,
		},
		jsonv1.Compacted{DataDir: "data", BeforeBytes: 1 << 20, AfterBytes: 1 << 19},
		jsonv1.Identity{Role: "submit", Name: "ci", Queues: []string{"team-a-*"}, TokenID: "3f9a2b41c07d", ExpiresAt: at, Open: true},
		jsonv1.AccessToken{
			ID: "3f9a2b41c07d", Name: "ci", Role: "submit", Queues: []string{"team-a-*"}, Rate: 10, Creator: "admin/alice", CreatedAt: at, ExpiresAt: at,
			Expired: true, Token: "rota_x",
		},
		jsonv1.Context{
			Name: "prod", Current: true, Addrs: []string{"a.example:7420"}, CA: "/c/ca.crt", Cert: "/c/admin.crt", Key: "/c/admin.key", TokenFile: "/c/token",
			TokenID: "3f9a2b41c07d",
		},
		jsonv1.Bench{Version: "v1.0", Servers: 3, Workloads: []jsonv1.BenchWorkload{workload}},
	}
}

// encode writes values as -o json does.
func encode(t *testing.T, values ...any) []byte {
	t.Helper()
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	for _, v := range values {
		require.NoError(t, enc.Encode(v))
	}
	return out.Bytes()
}

// TestTheFormatStaysAsItIs compares a full value and the zero value of each type with its file in testdata.
func TestTheFormatStaysAsItIs(t *testing.T) {
	t.Parallel()
	for _, full := range fullValues() {
		typ := reflect.TypeOf(full)
		file := filepath.Join("testdata", typ.Name()+".json")
		got := encode(t, full, reflect.Zero(typ).Interface())
		if *update {
			require.NoError(t, os.WriteFile(file, got, 0o600))
		}
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), "of %s: v1 only gets new fields; with those, run the test with -update", typ.Name())

		read := reflect.New(typ)
		dec := json.NewDecoder(bytes.NewReader(want))
		dec.DisallowUnknownFields()
		require.NoError(t, dec.Decode(read.Interface()))
		require.Equal(t, full, read.Elem().Interface(), "%s is not read as it is written", typ.Name())
	}
}

func TestEachTypeHasAFullValueAndAFile(t *testing.T) {
	t.Parallel()
	var have []string
	for _, v := range fullValues() {
		have = append(have, reflect.TypeOf(v).Name())
		requireFull(t, reflect.TypeOf(v).Name(), reflect.ValueOf(v))
	}
	slices.Sort(have)
	require.Equal(t, exportedTypes(t), have)
	files, err := filepath.Glob(filepath.Join("testdata", "*.json"))
	require.NoError(t, err)
	for i, file := range files {
		files[i] = strings.TrimSuffix(filepath.Base(file), ".json")
	}
	require.Equal(t, have, files)
}

// requireFull fails for a field that is zero, and for a list or map with nothing in it.
func requireFull(t *testing.T, path string, v reflect.Value) {
	t.Helper()
	require.False(t, v.IsZero(), "%s is zero in the full value", path)
	switch v.Kind() {
	case reflect.Pointer:
		requireFull(t, path, v.Elem())
	case reflect.Slice, reflect.Map:
		require.NotZero(t, v.Len(), "%s is empty in the full value", path)
		if v.Kind() == reflect.Slice {
			requireFull(t, path+"[0]", v.Index(0))
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			requireFull(t, path+"."+v.Type().Field(i).Name, v.Field(i))
		}
	}
}

// exportedTypes returns the names of the exported types in the source of the package, sorted.
func exportedTypes(t *testing.T) []string {
	t.Helper()
	var names []string
	sources, err := fs.Glob(os.DirFS("."), "*.go")
	require.NoError(t, err)
	for _, source := range sources {
		if strings.HasSuffix(source, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), source, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok && spec.Name.IsExported() {
				names = append(names, spec.Name.Name)
			}
			return true
		})
	}
	require.NotEmpty(t, names)
	slices.Sort(names)
	return names
}

var fieldName = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// TestFieldsFollowTheRulesOfTheFormat checks what doc.go says of names and types.
func TestFieldsFollowTheRulesOfTheFormat(t *testing.T) {
	t.Parallel()
	for _, v := range fullValues() {
		typ := reflect.TypeOf(v)
		for i := range typ.NumField() {
			f := typ.Field(i)
			if f.Anonymous {
				require.Empty(t, f.Tag, "%s.%s", typ.Name(), f.Name)
				continue
			}
			name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
			what := typ.Name() + "." + name
			require.True(t, f.IsExported(), what)
			require.Regexp(t, fieldName, name, what)
			require.Contains(t, []string{"", "omitempty"}, option, what)
			requireUnit(t, what, name, f.Type)
		}
	}
}

// requireUnit checks that the name of a field fits its type.
func requireUnit(t *testing.T, what, name string, typ reflect.Type) {
	t.Helper()
	isTime := strings.HasSuffix(name, "_at") || name == "not_before"
	require.Equal(t, isTime, typ == reflect.TypeFor[*time.Time](), "%s: the names of times end in _at", what)
	require.NotEqual(t, reflect.TypeFor[time.Duration](), typ, "%s: durations are integers with their unit in the name", what)
	require.NotEqual(t, reflect.TypeFor[[]byte](), typ, "%s: bytes are text, or base64 in a field of their own", what)
	switch {
	case strings.HasSuffix(name, "_ms"):
		require.Contains(t, []reflect.Type{reflect.TypeFor[int64](), reflect.TypeFor[*jsonv1.Spread]()}, typ, what)
	case strings.HasSuffix(name, "_bytes"):
		if typ.Kind() == reflect.Pointer { // null: it is not known
			typ = typ.Elem()
		}
		require.Contains(t, []reflect.Kind{reflect.Uint32, reflect.Uint64}, typ.Kind(), what)
	case strings.HasSuffix(name, "_base64"):
		require.Equal(t, reflect.String, typ.Kind(), what)
	}
}
