package mutants

import "time"

// raftModule is raft: what Rota promises depends on what raft promises.
const raftModule = "github.com/hashicorp/raft"

// walModule has the files of the log, of servers that keep it in files.
const walModule = "github.com/hashicorp/raft-wal"

// proposeAll lets reports come to the log that the leader answers from what it knows.
var proposeAll = edit{"", "transport/reports.go", "\tif len(sorted.Held) == 0 {\n", "\tsorted.Held, exceptions = groups, nil\n\tif len(sorted.Held) == 0 {\n"}

// upgradeTest replaces servers by those of another build, one by one.
const upgradeTest = "TestServersOfTwoBuildsAreOneCluster"

// All is every mutant, in the order of the checks that must find them.
func All() []Mutant {
	return []Mutant{
		{
			Name: "ack-before-commit", About: "a submit is acknowledged when the leader alone has stored it",
			Check: "S1", Workload: "queue", Nemesis: "partition:primaries", Interval: 2 * time.Second,
			edits: []edit{{raftModule, "commitment.go", "matched[(len(matched)-1)/2]", "matched[len(matched)-1]"}},
		},
		{
			Name: "no-fsync", About: "the log is written and not synced",
			Check: "S1", Workload: "queue", Nemesis: "power", Rate: 150, TimeLimit: 12 * time.Second, Interval: 2 * time.Second,
			edits: []edit{
				{"", "node/raftlog/open.go", "MsgpackUseNewTimeFormat: true,", "MsgpackUseNewTimeFormat: true, NoSync: true,"},
				{walModule, "segment/writer.go", "if err := w.wf.Sync(); err != nil {", "if err := error(nil); err != nil {"},
			},
		},
		{
			Name: "keys-ignored", About: "a request key is not looked up",
			Check: "S2", Workload: "idempotent", Nemesis: "none", TimeLimit: 5 * time.Second,
			edits: []edit{{"", "fsm/submit.go", "if e, ok := m.lookupKey(s.Queue, o.Key); ok {", "if e, ok := m.lookupKey(s.Queue, o.Key); ok && false {"}},
		},
		{
			Name: "keys-not-in-snapshot", About: "a server that takes a snapshot knows none of the request keys before it",
			Check: "S2", Workload: "snapshot", Nemesis: "snapshot-install", TimeLimit: 25 * time.Second,
			edits: []edit{{
				"", "fsm/store/state.go", "meta.NodeId, meta.ServerId = id.NodeID, id.ServerID",
				"if err := tx.DeleteBucket(keysBucket); err != nil {\nreturn err\n}\nif _, err := tx.CreateBucket(keysBucket); err != nil {\nreturn err\n}\nmeta.NodeId, meta.ServerId = id.NodeID, id.ServerID",
			}},
		},
		{
			Name: "second-result", About: "a report that is sent again makes another result",
			Check: "S3", Workload: "retry-lease", Nemesis: "none", TimeLimit: 10 * time.Second,
			edits: []edit{proposeAll, {
				"", "fsm/report.go", "\t}, func(_, count uint32) {\n",
				"\t}, func(i, count uint32) {\n\t\tif j := v.j; j != nil && i < j.total && !j.final() {\n\t\t\tif s, done := j.slot(i); !done && s != nil && s.state.Final() {\n\t\t\t\tm.touch(j)\n\t\t\t\tw.add(i, s, s.state, s.reason, nil, \"again\")\n\t\t\t\tj.received++\n\t\t\t}\n\t\t}\n",
			}},
		},
		{
			Name: "fencing-skipped", About: "a report counts under whatever token it comes",
			Check: "S4", Workload: "retry-lease", Nemesis: "none", TimeLimit: 15 * time.Second,
			edits: []edit{{"", "fsm/report.go", "s.state.Held() && s.session == session && int64(s.token) == token", "s.state.Held() && token > 0"}},
		},
		{
			Name: "token-reused", About: "tokens begin anew with each leader",
			Check: "S5", Workload: "queue", Nemesis: "kill", TimeLimit: 15 * time.Second,
			edits: []edit{{
				"", "fsm/machine.go", "m.applied, m.term = index, term\n\tm.metaDirty = true\n\tfor",
				"if term != m.term {\n\t\tm.nextToken = 1\n\t}\n\tm.applied, m.term = index, term\n\tm.metaDirty = true\n\tfor",
			}},
		},
		{
			Name: "old-leader-assigns", About: "a leader gives tasks out before the log has them, and so does one that was deposed",
			Check: "S5", Workload: "retry-lease", Nemesis: "partition:primaries", TimeLimit: 20 * time.Second,
			edits: []edit{
				{
					"", "scheduler/loops.go", "func (l *Loops) grant(ctx context.Context, plan *logpb.Op) {\n",
					"func (l *Loops) grant(ctx context.Context, plan *logpb.Op) {\n\tnext := l.State.Machine().NextToken()\n\tfor _, a := range plan.GetApplyPlan().GetAssign() {\n\t\tt, _ := l.State.Machine().Task(a.Job, a.First)\n" +
						"\t\tl.Fleet.Granted(fsm.Grant{Session: a.Session, Job: a.Job, First: a.First, Count: a.Count, TokenOffset: int64(next) - int64(a.First), Attempt: t.Attempt + 1})\n" +
						"\t\tnext += uint64(a.Count)\n\t}\n",
				},
				{
					"", "fsm/machine.go", "// SetObserver makes",
					"// NextToken is the token of the next grant.\nfunc (m *Machine) NextToken() uint64 {\n\tm.mu.RLock()\n\tdefer m.mu.RUnlock()\n\treturn m.nextToken\n}\n\n// SetObserver makes",
				},
			},
		},
		{
			Name: "guard-asleep", About: "nobody ends the serial commands of an agent that is paused",
			Check: "S6", Workload: "serial", Nemesis: "worker-pause", Rate: 40, Interval: 5 * time.Second, TimeLimit: 40 * time.Second,
			edits: []edit{{
				"", "worker/guard/enforcement.go", "return deadline - BootNow() }", "return time.Hour }",
			}},
		},
		{
			Name: "cancel-ignored", About: "a cancel is acknowledged and forgotten",
			Check: "S7", Workload: "cancel-race", Nemesis: "none", TimeLimit: 5 * time.Second,
			edits: []edit{{
				"", "fsm/cancel.go", "\t\tbudget := m.sweepBudget(o.Step)\n\t\tm.cancelJob(j, reason, r)\n\t\tm.sweep(j, &budget)\n\t\treturn\n",
				"\t\treturn\n",
			}},
		},
		{
			Name: "cancel-ignored-in-flight", About: "a cancel does not stop what runs",
			Check: "S7", Workload: "cancel-race", Nemesis: "none", TimeLimit: 5 * time.Second,
			edits: []edit{
				{"", "fsm/cancel.go", "case task.Stopping:\n\tcase task.Assigned:", "case task.Stopping, task.Assigned:\n\tcase task.Blocked:"},
				{"", "fsm/cancel.go", "return j.cancelReason != 0, j.cancelReason", "return false, j.cancelReason"},
			},
		},
		{
			Name: "backoff-forgotten", About: "a failed task is tried again at once",
			Check: "S8", Workload: "retry-lease", Nemesis: "none", TimeLimit: 10 * time.Second,
			edits: []edit{{"", "fsm/report.go", "s.at = m.clock + int64(m.rules.Backoff(j.id, i, uint32(*wrong)))", "s.at = m.clock"}},
		},
		{
			Name: "exclusive-taken", About: "an exclusive task that its worker does not report is taken off it as any other, and runs elsewhere within the lease",
			Check: "S8", Workload: "queue", Nemesis: "worker-silent", TimeLimit: 3 * time.Second, Interval: time.Second,
			edits: []edit{
				{"", "scheduler/overdue.go", "\t\tcase t.Exclusive:\n", "\t\tcase t.Exclusive && now < 0:\n"},
				{"", "fsm/overdue.go", "if j == nil || j.spec.Exclusive() {", "if j == nil {"},
			},
		},
		{
			Name: "unconfirmed-reads", About: "a read is answered without asking whether this server still leads",
			Check: "S11", Workload: "register", Nemesis: "pause:primaries", Rate: 150, Interval: 2 * time.Second,
			edits: []edit{{"", "node/reads.go", "\tf := r.raft.Barrier(timeout)\n", "\tif timeout > 0 {\n\t\treturn r.failure()\n\t}\n\tf := r.raft.Barrier(timeout)\n"}},
		},
		{
			Name: "local-reads", About: "any server answers reads from what it happens to have",
			Check: "S11", Workload: "register", Nemesis: "partition:one", Rate: 150, TimeLimit: 15 * time.Second,
			edits: []edit{{"", "transport/reads.go", "if o.GetStale() {", "if o.GetStale() || s != nil {"}},
		},
		{
			Name: "clock-in-apply", About: "each server notes its own time of a submit",
			Check: "S15", Workload: "queue", Nemesis: "none", TimeLimit: 5 * time.Second,
			edits: []edit{{"", "fsm/submit.go", "submitted: m.clock, lastAppend", "submitted: time.Now().UnixNano(), lastAppend"}},
		},
		{
			Name: "removed-still-votes", About: "a removal is noted and acknowledged, and the server keeps its vote",
			Check: "S16", Workload: "queue", Nemesis: "membership", TimeLimit: 30 * time.Second, Interval: time.Second,
			// Without id, the leader still counts how long the server is silent, so the next one of its name can replace it.
			edits: []edit{{
				"", "node/changes.go", "\tc, err := m.changed(id, m.raft.RemoveServer(id, 0, askTimeout))\n",
				"\tnodeID, serverID := raftnet.SplitServerID(id)\n\tc, err := ServerChange{NodeID: nodeID, ServerID: serverID, Removed: true}, error(nil)\n\tid = \"\"\n",
			}},
		},
		{
			Name: "lost-leadership-fails", About: "a request that lost its leader is called a failure",
			Check: "S17", Workload: "queue", Nemesis: "pause:primaries,kill", Rate: 150, Interval: 2 * time.Second,
			edits: []edit{{"", "node/proposer.go", `Kind: task.KindUnknownOutcome, Msg: "the leader was lost`, `Kind: task.KindUnavailable, Msg: "the leader was lost`}},
		},
		{
			Name: "snapshot-unchecked", About: "what was damaged on its way in a snapshot is taken for what it was",
			Check: "S18", Workload: "snapshot", Nemesis: "snapshot-install", TimeLimit: 25 * time.Second,
			// Every other snapshot is damaged on its way; the product refuses those.
			faults: []edit{
				{"", "fsm/store/stream.go", "\t\"crypto/sha256\"\n", "\t\"bytes\"\n\t\"crypto/sha256\"\n"},
				{"", "fsm/store/stream.go", "tx.WriteTo(io.MultiWriter(w, sum))", "tx.WriteTo(io.MultiWriter(damaged(w), sum))"},
				{
					"", "fsm/store/stream.go", "// Receive writes",
					"type damage struct{ io.Writer }\n\nfunc (d damage) Write(p []byte) (int, error) {\n\treturn d.Writer.Write(bytes.ReplaceAll(p, []byte(\"snapshot-\"), []byte(\"snapshoT-\")))\n}\n\n" +
						"var sent int\n\nfunc damaged(w io.Writer) io.Writer {\n\tif sent++; sent%2 == 1 {\n\t\treturn damage{w}\n\t}\n\treturn w\n}\n\n// Receive writes",
				},
			},
			edits: []edit{
				{"", "fsm/store/stream.go", "if string(sum.Sum(nil)) != string(want) {", "if len(want) == 0 {"},
				{"", "fsm/store/layout.go", "!= binary.BigEndian.Uint32(sealed[n:])", "== binary.BigEndian.Uint32(sealed[n:])+1"},
			},
		},
		{
			Name: "snapshot-meta-unchecked", About: "a server believes whatever its small files say, and applies entries behind a gap",
			Check: "S18", Workload: "snapshot", Nemesis: "disk:bitflip", TimeLimit: 60 * time.Second, Interval: time.Second,
			edits: []edit{
				{"", "internal/sealedfile/sealedfile.go", "if e.Checksum != checksum(e.Content) {", "if e.Checksum == \"\" {"},
				{"", "internal/sealedfile/sealedfile.go", "if !bytes.Equal(written, content) || sealed && !bytes.Equal(whole, data) {", "if len(written) == 0 || len(whole) == 0 {"},
				{"", "internal/sealedfile/sealedfile.go", "\td.DisallowUnknownFields()\n", ""},
				{"", "fsm/store/snapshotrecord.go", "\tif wrong == \"\" {\n", "\tif wrong = checkConfiguration(r.Configuration); wrong == \"\" {\n"},
				{"", "node/identity.go", "err == nil && !id.plausible():", "err == nil && !id.plausible() && id.NodeID == \"\":"},
				{"", "node/checks.go", "if err := c.checkSnapshot(snapshot); err != nil {", "if err := error(nil); err != nil {"},
				{"", "node/reads.go", "err == nil && named && applied < prev.Index {", "err == nil && named && applied < prev.Index && false {"},
				{"", "fsm/machine.go", "index > last.Index && prev != last {", "index > last.Index && prev != last && index == 0 {"},
			},
		},
		{
			Name: "entry-unbounded", About: "what an entry costs has nothing to do with its size: each task that a report names is an exception of its own, and nothing bounds how many share an entry",
			Check: "L7", Workload: "queue", Nemesis: "worker-hostile", TimeLimit: 12 * time.Second, Interval: 4 * time.Second,
			edits: []edit{
				proposeAll,
				{"", "transport/reports.go", "if err != nil || !sorted.Ahead {", "if err != nil || sorted != nil {"},
				{"", "transport/reports.go", "if err := out.room.take(ctx, cost); err != nil {", "if err := error(nil); err != nil {"},
				{"", "node/proposer.go", "weight+q[k].weight <= fsm.MaxEntryTasks", "weight >= 0"},
				{"", "fsm/verdict.go", "\t\t\tv.note(i, n)\n", "\t\t\tn = 1\n\t\t\tv.note(i, n)\n"},
				{"", "fsm/verdict.go", "if n := len(list); n > 0 {", "if n := len(list); n > 0 && e.Count > 1 {"},
			},
		},
		{
			Name: "restore-reuses-tokens", About: "a restored cluster counts tokens on from its backup",
			Check: "S23", Workload: "backup", Nemesis: "none", TimeLimit: 8 * time.Second,
			edits: []edit{{"", "fsm/incarnation.go", "= max(m.nextToken, floor.Token), max(", "= m.nextToken, max("}},
		},
		{
			Name: "wake-up-dropped", About: "nobody looks again when a backoff is over",
			Check: "L2", Workload: "retry-lease", Nemesis: "none", TimeLimit: 5 * time.Second,
			edits: []edit{{"", "fsm/timers.go", "\t\t\tj.comesBack(t.index)\n\t\t}\n", "\t\t\tj.comesBack(t.index)\n\t\t\tcontinue\n\t\t}\n"}},
		},
		{
			Name: "overdue-ignored", About: "nobody looks for tasks that their workers beat for and never report",
			Check: "L8", Workload: "queue", Nemesis: "worker-silent", TimeLimit: 3 * time.Second, Interval: time.Second,
			edits: []edit{{"", "scheduler/overdue.go", "if time.Now().Before(patience) ||", "if ctx.Err() == nil || time.Now().Before(patience) ||"}},
		},
		{
			Name: "gate-by-majority", About: "the version of the log rises when a majority knows the next one", Test: upgradeTest,
			edits: []edit{{"", "node/version.go", "known = min(known, info.knows())", "if info.knows() >= v.knows {\n\t\t\treturn v.knows, nil\n\t\t}\n\t\tknown = min(known, info.knows())"}},
		},
		{
			Name: "constants-of-the-build", About: "a server applies entries by the constants of its own build", Test: upgradeTest,
			edits: []edit{{"", "fsm/version.go", "m.version, m.rules = version, rulesOf(version)", "m.version, m.rules = version, rulesOf(Version)"}},
		},
		{
			Name: "unknown-fields-dropped", About: "what a server does not know of a request is dropped", Test: upgradeTest,
			edits: []edit{{"", "wire/unknown.go", "r.IsValid() && len(r.GetUnknown()) > 0 {", "r.IsValid() && len(r.GetUnknown()) < 0 {"}},
		},
	}
}
