package archtest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/rota-scheduler/rota"

const madeUpFile = "apply.go"

// A madeUp is a package as a test of the checker describes it.
type madeUp struct {
	dir string
	// file is madeUpFile unless the test needs another name.
	file string
	src  string
	// silent leaves out doc.go.
	silent bool
	nested bool
	links  []string
}

func TestCheckRefusesViolations(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("// A line.\n", maxLines)
	tests := []struct {
		name string
		pkg  madeUp
		// want is part of the only violation; empty: there must be none.
		want string
	}{
		{name: "nothing wrong", pkg: madeUp{dir: "fsm", src: `package fsm; import _ "` + module + `/task"`}},
		{name: "its own subfolder", pkg: madeUp{dir: "fsm", src: `package fsm; import _ "` + module + `/fsm/logpb"`}},
		{name: "own import against the direction",
			pkg:  madeUp{dir: "fsm", src: "package fsm\nimport _ \"" + module + `/scheduler"`},
			want: "fsm/apply.go:2: imports scheduler, but fsm may import only task"},
		{name: "every layer above task is closed to it",
			pkg:  madeUp{dir: "task", src: `package task; import _ "` + module + `/fsm"`},
			want: "imports fsm, but task may import nothing of this module"},
		{name: "node below transport",
			pkg:  madeUp{dir: "node", src: `package node; import _ "` + module + `/transport/peerpb"`},
			want: "imports transport/peerpb"},
		{name: "worker stays away from the state machine",
			pkg:  madeUp{dir: "worker", src: `package worker; import _ "` + module + `/fsm"`},
			want: "imports fsm, but worker may import only api, task, wire"},
		{name: "client stays away from the node",
			pkg:  madeUp{dir: "client", src: `package client; import _ "` + module + `/node"`},
			want: "imports node"},
		{name: "wire knows no state machine",
			pkg:  madeUp{dir: "wire", src: `package wire; import _ "` + module + `/fsm"`},
			want: "imports fsm"},
		{name: "a test may import upwards",
			pkg: madeUp{dir: "fsm", file: "apply_test.go", src: `package fsm_test; import _ "` + module + `/internal/sim"`}},
		{name: "nobody imports cmd, not even a test",
			pkg:  madeUp{dir: "web", file: "web_test.go", src: `package web; import _ "` + module + `/cmd/rota"`},
			want: "imports cmd/rota, which nobody may"},
		{name: "cmd imports itself",
			pkg: madeUp{dir: "cmd/rota", src: `package main; import _ "` + module + `/cmd/rota/internal/table"`}},
		{name: "test support outside a test",
			pkg:  madeUp{dir: "node", src: `package node; import _ "` + module + `/internal/sim"`},
			want: "imports internal/sim, which only tests may"},
		{name: "test library outside a test",
			pkg:  madeUp{dir: "node", src: `package node; import _ "github.com/stretchr/testify/require"`},
			want: "imports github.com/stretchr/testify/require outside a test"},
		{name: "test library in test support",
			pkg: madeUp{dir: "internal/sim", src: `package sim; import _ "pgregory.net/rapid"`}},

		{name: "task beyond the standard library",
			pkg:  madeUp{dir: "task", src: `package task; import _ "google.golang.org/protobuf/proto"`},
			want: "task keeps to the standard library"},
		{name: "raft in the state machine",
			pkg:  madeUp{dir: "fsm", src: `package fsm; import _ "github.com/hashicorp/raft"`},
			want: "imports github.com/hashicorp/raft, which fsm must not"},
		{name: "a major version of a refused module",
			pkg:  madeUp{dir: "fsm", src: `package fsm; import _ "github.com/hashicorp/raft-boltdb/v2"`},
			want: "imports github.com/hashicorp/raft-boltdb/v2"},
		{name: "raft in the snapshot store",
			pkg: madeUp{dir: "fsm/store", src: `package store; import _ "github.com/hashicorp/raft"`}},
		{name: "network in the snapshot store",
			pkg:  madeUp{dir: "fsm/store", src: `package store; import _ "net/http"`},
			want: "imports net/http, which fsm/store must not"},
		{name: "network in the log's messages",
			pkg:  madeUp{dir: "fsm/logpb", src: `package logpb; import _ "google.golang.org/grpc/codes"`},
			want: "which fsm/logpb must not"},
		{name: "randomness in the state machine",
			pkg:  madeUp{dir: "fsm", src: `package fsm; import _ "math/rand/v2"`},
			want: "imports math/rand/v2"},
		{name: "the import is read whatever system the file is for",
			pkg: madeUp{dir: "fsm", file: "apply_plan9.go",
				src: "//go:build ignore\n\npackage fsm\nimport _ \"crypto/rand\""},
			want: "fsm/apply_plan9.go:4: imports crypto/rand"},

		{name: "a clock in the state machine",
			pkg:  madeUp{dir: "fsm", src: "package fsm\nimport \"time\"\nvar now = time.Now"},
			want: "fsm/apply.go:3: refers to time.Now, which fsm must not"},
		{name: "a clock under another name",
			pkg:  madeUp{dir: "fsm", src: "package fsm\nimport clock \"time\"\nvar d = clock.Since(clock.Time{})"},
			want: "refers to time.Since"},
		{name: "a clock by dot",
			pkg:  madeUp{dir: "fsm", src: `package fsm; import . "time"; var now = Now`},
			want: "imports time with a dot"},
		{name: "the environment in the state machine",
			pkg:  madeUp{dir: "fsm", src: `package fsm; import "os"; var home = os.Getenv("HOME")`},
			want: "refers to os.Getenv"},
		{name: "durations are no clock",
			pkg: madeUp{dir: "fsm", src: `package fsm; import "time"; var d = 3 * time.Second`}},
		{name: "a test of the state machine may read the clock",
			pkg: madeUp{dir: "fsm", file: "apply_test.go", src: `package fsm; import "time"; var now = time.Now()`}},
		{name: "the flusher waits for an interval",
			pkg: madeUp{dir: "fsm/store", src: `package store; import "time"; var t = time.NewTicker(time.Second)`}},
		{name: "the flusher reads no clock",
			pkg:  madeUp{dir: "fsm/store", src: `package store; import "time"; var now = time.Now()`},
			want: "refers to time.Now, which fsm/store must not"},

		{name: "network reached through another package",
			pkg: madeUp{dir: "fsm", src: "package fsm", links: []string{"example.org/metrics"}},
			want: "fsm: links net/http, which fsm must not: " + module +
				"/fsm -> example.org/metrics -> example.org/expose -> net/http"},
		{name: "raft reached through another package",
			pkg:  madeUp{dir: "scheduler", src: "package scheduler", links: []string{"example.org/proposer"}},
			want: "scheduler: links github.com/hashicorp/raft"},

		{name: "a file too long",
			pkg:  madeUp{dir: "fsm", src: "package fsm\n" + long},
			want: "fsm/apply.go: has 601 lines, the limit is 600"},
		{name: "a file as long as may be",
			pkg: madeUp{dir: "fsm", src: long[len("// A line.\n"):] + "package fsm\n"}},
		{name: "a long test", pkg: madeUp{dir: "fsm", file: "apply_test.go", src: "package fsm\n" + long}},
		{name: "a long generated file, without a doc.go",
			pkg: madeUp{dir: "fsm/logpb", silent: true,
				src: "// Code generated by protoc-gen-go. DO NOT EDIT.\n\npackage logpb\n" + long}},
		{name: "a file too long in another module",
			pkg:  madeUp{dir: "bench/peers", nested: true, silent: true, src: "package peers\n" + long},
			want: "bench/peers/apply.go: has 601 lines"},
		{name: "imports in another module are its own affair",
			pkg: madeUp{dir: "bench/peers", nested: true, silent: true,
				src: `package peers; import _ "` + module + `/node"`}},

		{name: "no documentation",
			pkg:  madeUp{dir: "fsm", silent: true, src: "package fsm"},
			want: "fsm: has neither doc.go nor DESIGN.md"},
		{name: "a vague package name",
			pkg:  madeUp{dir: "node/nodeutil", src: "package util"},
			want: "node/nodeutil/apply.go: package util has a name that says nothing"},
		{name: "a vague folder name",
			pkg:  madeUp{dir: "node/common", src: "package raftx"},
			want: "package common has a name that says nothing"},
		{name: "a folder without a layer",
			pkg:  madeUp{dir: "plumbing", src: "package plumbing"},
			want: "plumbing: is in no layer"},
		{name: "a layer's name as a mere prefix",
			pkg:  madeUp{dir: "fsmtools", src: "package fsmtools"},
			want: "fsmtools: is in no layer"},
		{name: "a neighbour that is not there",
			pkg:  madeUp{dir: "node", src: "package node\n\n// Taken by bytes, by snapshots.go.\n"},
			want: "node/apply.go:3: names snapshots.go, which is not there"},
		{name: "a neighbour of somebody else",
			pkg:  madeUp{dir: "node", src: "package node // view.go is in another folder."},
			want: "names view.go, which is not there"},
		{name: "a path that is not there",
			pkg:  madeUp{dir: "fsm", src: "package fsm // See node/view.go."},
			want: "names node/view.go, which is not there"},
		{name: "files that are there, of every kind",
			pkg: madeUp{dir: "fsm", src: "package fsm\n\n// It is in view.go, fsm/view.go, or the README.md; doc.go tells.\n"}},
		{name: "a file of another module",
			pkg: madeUp{dir: "node", src: "package node // See github.com/hashicorp/raft/replication.go, https://go.dev/a.go."}},
		{name: "an instruction of the compiler",
			pkg: madeUp{dir: "node", src: "package node\n\n//go:embed skew.go.txt\nvar skew string\n"}},
		{name: "a file of the same nested module",
			pkg: madeUp{dir: "jepsen-tests/nemesis", nested: true, src: "package nemesis // See workload/line.go."}},
		{name: "a file that a nested module does not have",
			pkg:  madeUp{dir: "jepsen-tests/nemesis", nested: true, src: "package nemesis // See workload/board.go."},
			want: "names workload/board.go, which is not there"},

		{name: "a logger under another name",
			pkg:  madeUp{dir: "node", src: "package node\nimport \"log/slog\"\ntype Config struct {\n\tLog *slog.Logger\n}"},
			want: "node/apply.go:4: has a logger called Log; call it Logger"},
		{name: "loggers as they should be",
			pkg: madeUp{dir: "node", src: `package node; import "log/slog"; type Config struct { Logger, log *slog.Logger }`}},
		{name: "an error under another key",
			pkg:  madeUp{dir: "worker", src: `package worker; func f() { w.log.Warn("lost", "addr", addr, "err", err) }`},
			want: `logs an error as "err"; its key is "error"`},
		{name: "an error of a context under another key",
			pkg:  madeUp{dir: "worker", src: `package worker; func f() { log.ErrorContext(ctx, "lost", "cause", sessionErr) }`},
			want: `logs an error as "cause"`},
		{name: "errors and others under their keys",
			pkg: madeUp{dir: "worker", src: `package worker; func f() { log.Warn("lost", "addr", addr, "error", err); log.With("n", n) }`}},

		{name: "a file that does not parse to its end",
			pkg:  madeUp{dir: "fsm", src: "package fsm\nimport _ \"net\"\nfunc ("},
			want: "fsm/apply.go:2: imports net, which fsm must not"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := check(houseRules, tt.pkg.repository())
			if tt.want == "" && len(got) > 0 {
				t.Errorf("violations %q, want none", got)
			}
			if tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)) {
				t.Errorf("violations %q, want one that contains %q", got, tt.want)
			}
		})
	}
}

func TestDocumentsNameFilesThatAreThere(t *testing.T) {
	t.Parallel()
	repo := repository{
		files: map[string]bool{"docs/guarantees.md": true, "fsm/view.go": true, "jepsen-tests/checker/doc.go": true},
		texts: []text{
			{path: "docs/architecture.md", src: []byte("A view (`fsm/view.go`), [what holds](guarantees.md), `fsm/band.go`.\n\nAlso ../fsm/view.go.\n")},
			{path: "README.md", src: []byte("[what holds](docs/guarantees.md), [docs](docs/operations.md)\n")},
			{path: "jepsen-tests/README.md", src: []byte("checker/doc.go, each doc.go, doc.go:12, [a site](https://go.dev/x.go), store/summary.md\n")},
		},
	}
	want := []string{
		"docs/architecture.md:1: names fsm/band.go, which is not there; say its path from this folder or from the root",
		"README.md:1: names docs/operations.md, which is not there; say its path from this folder or from the root",
	}
	if got := check(houseRules, repo); !slices.Equal(got, want) {
		t.Errorf("violations %q, want %q", got, want)
	}
}

func TestRowsOfTablesHaveTheirCells(t *testing.T) {
	t.Parallel()
	repo := repository{texts: []text{{path: "docs/a.md", src: []byte("a | b\n\n| a | b |\n|---|---|\n| `a\\|b` | |\n| a | b | c | d |\n| a |\n\n| a |\n|---|\n")}}}
	want := []string{
		"docs/a.md:6: has a row with this many cells: 4; its table has columns: 2",
		"docs/a.md:7: has a row with this many cells: 1; its table has columns: 2",
	}
	if got := check(houseRules, repo); !slices.Equal(got, want) {
		t.Errorf("violations %q, want %q", got, want)
	}
}

func TestRowsWithoutAFolderAreRefused(t *testing.T) {
	t.Parallel()
	r := rules{
		entry:       "cmd",
		layers:      []layer{{dir: "fsm", own: []string{"task"}}, {dir: "examples", own: []string{"fsm"}}},
		testSupport: []string{"internal/sim", "e2e"},
	}
	repo := repository{pkgs: []pkg{{dir: "cmd/rota"}, {dir: "fsm/store"}, {dir: "internal/sim"}, {dir: "task"}}}
	want := []string{
		"internal/archtest/rules_test.go: has a row for e2e, which is no folder with Go files; remove it",
		"internal/archtest/rules_test.go: has a row for examples, which is no folder with Go files; remove it",
	}
	if got := checkRows(r, repo); !slices.Equal(got, want) {
		t.Errorf("violations %q, want %q", got, want)
	}
}

func (m madeUp) repository() repository {
	name := m.file
	if name == "" {
		name = madeUpFile
	}
	return repository{
		module: module,
		pkgs: []pkg{{
			dir:        m.dir,
			nested:     m.nested,
			documented: !m.silent,
			files:      []file{{name: name, src: []byte(m.src)}},
		}},
		files: map[string]bool{
			m.dir + "/" + name: true, "fsm/view.go": true, "README.md": true, "jepsen-tests/workload/line.go": true,
		},
		imports: map[string][]string{
			module + "/" + m.dir:   m.links,
			"example.org/metrics":  {"example.org/expose", "fmt"},
			"example.org/expose":   {"net/http", "example.org/metrics"},
			"example.org/proposer": {"github.com/hashicorp/raft"},
		},
	}
}

// TestLoadFindsWhatIsOnDisk breaks rules in a module on disk, one through each way
// that load learns of things.
func TestLoadFindsWhatIsOnDisk(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":                   "module " + module + "\n\ngo 1.26.0\n",
		"task/doc.go":              "package task\n\nimport _ \"os\"\n",
		"fsm/DESIGN.md":            "# fsm\n",
		"fsm/apply.go":             "package fsm\n\nimport _ \"net/netip\"\n",
		"fsm/testdata/bad.go":      "package util\n",
		"scheduler/plan.go":        "package scheduler\n",
		"wire/doc.go":              "package wire\n\nimport _ \"" + module + "/node\"\n",
		"node/doc.go":              "package node\n",
		".tools/helper/helper.go":  "package helper\n",
		"bench/go.mod":             "module " + module + "/bench\n\ngo 1.26.0\n",
		"bench/peers/util/util.go": "package util\n",
		"fsm/linked/doc.go":        "package linked\n\nimport _ \"expvar\"\n",
	} {
		full := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	repo, err := load(root)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"bench/peers/util/util.go: package util",
		"fsm/apply.go:3: imports net/netip",
		"fsm/linked: links net/http",
		"scheduler: has neither doc.go nor DESIGN.md",
		"wire/doc.go:3: imports node",
	}
	got := check(houseRules, repo)
	for _, w := range want {
		at := slices.IndexFunc(got, func(g string) bool { return strings.HasPrefix(g, w) })
		if at < 0 {
			t.Errorf("no violation begins with %q; got %q", w, got)
			continue
		}
		got = slices.Delete(got, at, at+1)
	}
	if len(got) > 0 {
		t.Errorf("violations that nobody made: %q", got)
	}
}
