package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// requireJSON fails if the JSON of a value changes: scripts rely on it.
func requireJSON(t *testing.T, want string, v any) {
	t.Helper()
	got, err := json.Marshal(v)
	require.NoError(t, err)
	require.JSONEq(t, want, string(got))
}

func TestJSONOfAJob(t *testing.T) {
	t.Parallel()
	at := time.Unix(1, 5e8)
	requireJSON(t, `{"id":42,"name":"n","queue":"q","state":"running","reason":"",
		"tasks":{"total":9,"blocked":0,"scheduled":1,"pending":2,"assigned":3,"stopping":0,"succeeded":2,"failed":1,"cancelled":0},
		"command":["echo","hi"],"env":{"A":"1"},"stdout":"file:/a","execution":"serial","alloc":"random","max_parallel":4,"priority":-5,
		"max_attempts":3,"timeout_ms":1500,"submitted_at":"1970-01-01T00:00:01.5Z","started_at":"1970-01-01T00:00:01.5Z",
		"finished_at":null,"retry_of":41,"key":"k","applied_index":7}`,
		jobJSON(client.JobInfo{
			ID: 42, Total: 9, State: task.JobRunning, SubmittedAt: at, StartedAt: at, RetryOf: 41, Key: "k", AppliedIndex: 7,
			Counts: task.Counts{task.Scheduled: 1, task.Pending: 2, task.Assigned: 3, task.Succeeded: 2, task.Failed: 1},
			Spec: task.Spec{
				Name: "n", Queue: "q", Command: []string{"echo", "hi"}, Env: []task.Pair{{Key: "A", Value: "1"}}, Serial: true,
				Policy: task.Random, MaxParallel: 4, Priority: -5, MaxAttempts: 3, Timeout: 1500 * time.Millisecond,
				Stdout: task.StdoutFile, StdoutPath: "/a",
			},
		}))
}

func TestJSONOfAResult(t *testing.T) {
	t.Parallel()
	code := 3
	requireJSON(t, `{"job":42,"task":7,"state":"failed","reason":"exit-code","attempt":2,"token":99,"worker":"w","exit_code":3,
		"output":"headtail","output_missing":1099511627776,"output_head":4,"error":"exit code 3","stderr":"why\\xff","stderr_base64":"d2h5/w==","finished_at":null,"value":0}`,
		resultJSON(42, &client.Result{
			Index: 7, State: task.Failed, Reason: task.ReasonExitCode, Attempt: 2, Token: 99, Worker: "w", ExitCode: &code,
			Error: "exit code 3", Stderr: []byte("why\xff"), Output: []byte("headtail"), OutputMissing: 1 << 40, OutputHead: 4,
		}, true))
	requireJSON(t, `{"job":42,"task":0,"state":"succeeded","reason":"","attempt":1,"token":1,"worker":"w","exit_code":null,
		"output":"","output_base64":"/w==","finished_at":null,"value":0}`,
		resultJSON(42, &client.Result{State: task.Succeeded, Attempt: 1, Token: 1, Worker: "w", Output: []byte{0xff}}, false))
}

func TestJSONOfAStatus(t *testing.T) {
	t.Parallel()
	free := uint64(5)
	requireJSON(t, `{"leader":"n1","term":4,"servers":[{"id":"n1","addr":"a:1","peer_addr":"a:2","http_addr":"a:3","state":"leader",
		"voter":true,"applied_index":9,"last_contact_ms":12,"version":"dev","term":4,"server_id":"ab",
		"problem":"it waits","knows_version":4,"commit_index":10,"lag":1,"disk_free_bytes":5,"certificate_expires_at":null}],"cluster_id":"c","applied_index":9,"active_version":3}`,
		statusJSON(client.ClusterInfo{ID: "c", Leader: "n1", Term: 4, AppliedIndex: 9, ActiveVersion: 3, Servers: []client.ServerInfo{{
			ID: "n1", ServerID: "ab", Addr: "a:1", PeerAddr: "a:2", HTTPAddr: "a:3", State: "leader", Voter: true, AppliedIndex: 9,
			Term: 4, LastContact: 12 * time.Millisecond, Version: "dev", Problem: "it waits", KnowsVersion: 4,
			CommitIndex: 10, Lag: 1, DiskFree: &free,
		}}}))
	requireJSON(t, `{"leader":"","term":0,"servers":[],"cluster_id":"","applied_index":0,"active_version":0}`, statusJSON(client.ClusterInfo{}))
}

func TestJSONOfAWorker(t *testing.T) {
	t.Parallel()
	requireJSON(t, `{"id":"i","name":"w1","session":3,"connected":true,"unhealthy":"no space left","draining":true,"slots":4,"assigned":2,"running":1,"labels":{},"queues":[],
		"handlers":["h"],"commands":true,"version":"dev","opened_at":null,"last_beat_ms":5,"tasks":[{"job":42,"task":7,"run_ms":1000}]}`,
		workerJSON(client.WorkerInfo{
			ID: "i", Name: "w1", SessionID: 3, Connected: true, Unhealthy: "no space left", Draining: true, Slots: 4, Assigned: 2, Running: 1, Handlers: []string{"h"}, Commands: true,
			Version: "dev", LastBeat: 5 * time.Millisecond,
			Tasks: []client.RunningTask{{ID: task.ID{Job: 42, Index: 7}, RunTime: time.Second}},
		}))
}

// TestOutputIsTheSameByteForByte compares the output for full and empty values with a file. api/jsonv1 tests the format;
// this tests that each field is filled from the right place.
func TestOutputIsTheSameByteForByte(t *testing.T) {
	t.Parallel()
	at, code := time.Date(2030, 1, 31, 20, 0, 0, 250_000_000, time.FixedZone("", 2*60*60)), 3
	later := at.Add(90 * time.Minute)
	attempt := client.AttemptInfo{
		Index: 7, Attempt: 1, State: task.Failed, Reason: task.ReasonExitCode, ExitCode: &code, Error: "<exit code 3>", Stderr: []byte("why\xff"), Worker: "w1",
		Token: 99, GrantedAt: at, EndedAt: later, Usage: task.Usage{PeakMemory: 7 << 20, CPUTime: 1234567 * time.Microsecond},
	}
	retried := client.AttemptInfo{Index: 7, Attempt: 1, Worker: "w2", Token: 98, EndedAt: later}
	a, out, _ := testApp(nil)
	for _, format := range []string{formatJSON, formatJSONL} {
		a.format = format
		for _, v := range []any{
			jobJSON(client.JobInfo{
				ID: 42, State: task.JobRunning, Reason: task.ReasonTimeout, Total: 36, Running: 2, Retrying: 1,
				Counts: task.Counts{
					task.Blocked: 1, task.Scheduled: 2, task.Pending: 3, task.Assigned: 4, task.Stopping: 5, task.Succeeded: 6, task.Failed: 7, task.Cancelled: 8,
				},
				SubmittedAt: at, StartedAt: later, FinishedAt: later.Add(time.Second), StartsAt: at.Add(1), LastFailure: &attempt, Missing: []string{"no worker & no label"},
				RetryOf: 41, Key: "k", Open: true, Cancelling: true, AppliedIndex: 9, Stale: true,
				Spec: task.Spec{
					Name: "n", Queue: "q", Handler: "h", Command: []string{"echo", "<hi>"}, Env: []task.Pair{{Key: "A", Value: "1"}, {Key: "B"}}, Cwd: "/c",
					Stdout: task.StdoutFull, Policy: task.LeastLoaded, MaxParallel: 4, Priority: -5, MaxAttempts: 3, Timeout: 1500 * time.Millisecond,
					Retention: time.Hour, Require: []task.Pair{{Key: "l", Value: "v"}}, Meta: []task.Pair{{Key: "m", Value: "w"}},
				},
			}),
			jobJSON(client.JobInfo{LastFailure: &retried, Spec: task.Spec{Serial: true, Policy: 77, Stdout: task.StdoutFile, StdoutPath: "a"}}),
			taskJSON(42, client.TaskInfo{
				Index: 7, State: task.Assigned, Reason: task.ReasonUser, Attempt: 2, Token: 100, Worker: "w1", NotBefore: at, Running: true, RunTime: 1500 * time.Millisecond,
				Value: 70, Input: []byte("caf\xc3"), InputBytes: 5, RetryOf: task.ID{Job: 41, Index: 3}, Attempts: []client.AttemptInfo{retried, attempt},
			}),
			taskJSON(42, client.TaskInfo{State: task.Pending, Input: []byte("\xff"), InputBytes: 1}),
			resultJSON(42, &client.Result{
				Index: 7, State: task.Failed, Reason: task.ReasonExitCode, Attempt: 2, Token: 100, Worker: "w1", ExitCode: &code, Output: []byte("head<tail"),
				OutputMissing: 1 << 40, OutputHead: 4, Error: "e", Stderr: []byte("why\xff"), FinishedAt: later, Value: 70, Input: []byte("in"), InputCut: true,
				RetryOf: task.ID{Job: 41, Index: 3}, Usage: task.Usage{PeakMemory: 1 << 20, CPUTime: time.Second},
			}, true),
			resultJSON(42, &client.Result{State: task.Cancelled, Reason: task.ReasonExpired, Output: []byte{0xff}, Input: []byte{0xfe}}, true),
			statusJSON(client.ClusterInfo{
				ID: "c", Leader: "n1", Term: 4, AppliedIndex: 9, Waiting: "w", ActiveVersion: 3, Servers: []client.ServerInfo{{
					ID: "n1", ServerID: "ab", Addr: "a:1", PeerAddr: "a:2", HTTPAddr: "a:3", State: "leader", Voter: true, AppliedIndex: 9, Term: 4,
					LastContact: 12 * time.Millisecond, Version: "dev", Problem: "it waits", KnowsVersion: 4,
				}},
			}),
			statusJSON(client.ClusterInfo{}),
			verificationJSON(client.VerifyInfo{Index: 9, OK: true, Servers: []client.DigestInfo{
				{ID: "n1", Index: 9, Digest: 0xff}, {ID: "n2", Index: 8, Digest: 1, Error: "no answer", Violations: []string{"v"}},
			}}),
			verificationJSON(client.VerifyInfo{}),
			workerJSON(client.WorkerInfo{
				ID: "i", Name: "w1", SessionID: 3, Connected: true, Unhealthy: "no space left", Draining: true, Slots: 4, Assigned: 2, Running: 1,
				Labels: map[string]string{"b": "1", "a": "2"}, Queues: []string{"q"}, Handlers: []string{"h"}, Commands: true, Version: "dev", OpenedAt: at,
				LastBeat: 5 * time.Millisecond, Tasks: []client.RunningTask{{ID: task.ID{Job: 42, Index: 7}, RunTime: time.Second}},
			}),
			workerJSON(client.WorkerInfo{}),
		} {
			require.NoError(t, a.printOne(v))
		}
	}
	file := filepath.Join("testdata", "output.json")
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), out.String())
}

func TestListsAreAnArrayOrLines(t *testing.T) {
	t.Parallel()
	for format, want := range map[string][2]string{
		formatJSON:  {"[]\n", "[\n  {\"a\":1},\n  {\"a\":2}\n]\n"},
		formatJSONL: {"", "{\"a\":1}\n{\"a\":2}\n"},
	} {
		for i, values := range [][]int{{}, {1, 2}} {
			a, out, _ := testApp(nil)
			a.format = format
			list := a.newJSONList(a.out)
			for _, v := range values {
				require.NoError(t, list.add(map[string]int{"a": v}))
			}
			require.NoError(t, list.end())
			require.Equal(t, want[i], out.String())
		}
	}
}
