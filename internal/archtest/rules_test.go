package archtest

// maxLines is where a hand-written file fails. The aim is 500; the rest is room to
// finish a thought before splitting.
const maxLines = 600

// vagueNames are package names that say nothing about what is inside.
var vagueNames = []string{"util", "utils", "common", "helper", "helpers", "misc"}

// packageTexts are the files of which each package has one.
var packageTexts = []string{"doc.go", "DESIGN.md"}

// testLibraries are for tests and for the packages under testSupport.
var testLibraries = []string{
	"testing/...",
	"github.com/stretchr/testify/...",
	"go.uber.org/goleak",
	"pgregory.net/rapid",
	"github.com/rogpeppe/go-internal/testscript/...",
	"github.com/anishathalye/porcupine",
}

// testSupport are the folders that exist for tests: they may import test libraries,
// and only tests and each other may import them.
var testSupport = []string{"internal/sim", "internal/archtest", "internal/testcluster", "internal/smalldisk", "internal/leaks", "internal/machines"}

// A layer is a folder of the repository with what its non-test files may import.
// The longest matching dir counts, so a row for fsm/store replaces that of fsm.
type layer struct {
	dir string
	// own lists the folders of this repository that it may import, besides itself.
	own []string
	// refused lists what it must not import: a path, or a path and all below with /...
	refused []string
	// unlinked lists what it must not even reach through other packages.
	unlinked []string
	// names lists, by package, what must not be referred to.
	names map[string][]string
	// stdlibOnly refuses every package that is neither ours nor the standard library's.
	stdlibOnly bool
}

var (
	raft = []string{
		"github.com/hashicorp/raft/...",
		"github.com/hashicorp/raft-boltdb/...",
		"github.com/hashicorp/raft-wal/...",
	}
	grpc       = []string{"google.golang.org/grpc/..."}
	network    = append([]string{"net/..."}, grpc...)
	randomness = []string{"math/rand/...", "crypto/rand", "hash/maphash"}

	environment = []string{
		"Getenv", "LookupEnv", "Environ", "ExpandEnv", "Hostname", "Getpid", "Args",
	}
	// The state machine neither reads a clock nor waits for one, and no answer of
	// its depends on the time zone of the server.
	clockAndEnvironment = map[string][]string{
		"time": {
			"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick",
			"NewTimer", "NewTicker", "Local", "LoadLocation",
		},
		"os": environment,
	}
	// The flusher may wait for an interval, but what it writes has no time of its own.
	clockReads = map[string][]string{
		"time": {"Now", "Since", "Until", "Local", "LoadLocation"},
		"os":   environment,
	}
)

// layers is the house of DESIGN: task <- fsm <- scheduler <- node <- transport <-
// web <- server <- cmd, with worker and client beside it on api, task and wire.
var layers = []layer{
	{dir: "api"},
	{dir: "api/jsonv1", own: []string{"task"}, stdlibOnly: true, unlinked: join(network, raft)},
	{dir: "task", stdlibOnly: true, unlinked: join(network, raft)},
	{dir: "wire", own: []string{"api", "task", "internal/requestid"}, unlinked: raft},
	{dir: "wire/leader", own: []string{"api", "task", "wire", "internal/ticks"}, unlinked: raft},
	{dir: "wire/secure", own: []string{"task"}, unlinked: raft},

	{
		dir:      "fsm",
		own:      []string{"task", "internal/latency"},
		refused:  join(network, raft, randomness),
		unlinked: join([]string{"net", "net/http"}, grpc, raft),
		names:    clockAndEnvironment,
	},
	{
		dir:      "fsm/logpb",
		refused:  join(network, raft, randomness),
		unlinked: join([]string{"net", "net/http"}, grpc, raft),
	},
	{
		// It implements raft's snapshot store, and so may import raft.
		dir:     "fsm/store",
		own:     []string{"task", "fsm", "internal/atomicfile", "internal/latency", "internal/sealedfile"},
		refused: join(network, randomness),
		names:   clockReads,
	},
	{dir: "fsm/store/backup", refused: join(network, raft, randomness), unlinked: raft, names: clockReads},

	{dir: "scheduler", own: []string{"task", "fsm", "internal/loglimit", "internal/ticks"}, refused: network, unlinked: raft},
	{dir: "node", own: []string{"task", "fsm", "scheduler", "api", "wire", "internal/atomicfile", "internal/dirlock", "internal/latency", "internal/sealedfile", "internal/stopwatch", "internal/ticks"}},
	{dir: "node/raftlog", own: []string{"fsm", "internal/latency", "internal/stopwatch"}, refused: network},
	{dir: "node/raftnet", own: []string{"fsm", "internal/ticks"}, refused: grpc},
	{dir: "transport/peerpb", own: []string{"api"}},
	{dir: "transport/access", own: []string{"task", "fsm", "transport/peerpb", "api", "wire", "internal/loglimit"}, refused: raft},
	{dir: "transport", own: []string{"task", "fsm", "scheduler", "node", "api", "wire", "internal/latency", "internal/loglimit", "internal/requestid"}, refused: raft},
	{dir: "web", own: []string{"task", "fsm", "scheduler", "node", "transport", "api", "wire", "internal/latency"}, refused: raft},

	{dir: "server", own: []string{"task", "node", "transport", "web", "wire", "internal/loglimit", "internal/ticks"}},

	{dir: "worker", own: []string{"api", "task", "wire", "internal/dirlock", "internal/sealedfile", "internal/ticks"}, unlinked: raft},
	{dir: "worker/command", own: []string{"task", "worker/guard"}, unlinked: raft},
	{dir: "worker/report", own: []string{"api", "task", "wire"}, unlinked: raft},
	{dir: "worker/tasklog", stdlibOnly: true, unlinked: join(network, raft)},
	// It is a process of its own, and starts the faster the less comes with it.
	{dir: "worker/guard", own: []string{"task"}, refused: network, unlinked: join(network, raft)},
	{dir: "client", own: []string{"api", "task", "wire", "internal/requestid"}, unlinked: raft},

	{dir: "cmd", own: []string{
		"task", "fsm", "scheduler", "node", "web", "server", "api", "wire", "worker", "client",
		"internal/atomicfile", "internal/localcluster", "internal/pki", "internal/requestid",
	}},

	{dir: "internal/sim", own: []string{
		"task", "fsm", "scheduler", "node", "transport", "web", "api", "wire", "worker", "client",
	}},
	{dir: "internal/testcluster", own: []string{
		"task", "fsm", "scheduler", "node", "transport", "web", "server", "api", "wire", "worker", "client", "internal/ports",
	}},
	// It starts processes of the binary, and speaks to them as any client does.
	{dir: "internal/localcluster", own: []string{"task", "wire", "client", "internal/atomicfile", "internal/pki", "internal/ports", "internal/process", "internal/ticks"}},
	{dir: "internal/pki", own: []string{"task", "wire/secure", "internal/atomicfile"}, refused: grpc, unlinked: raft},
	{dir: "internal/process", refused: network},
	{dir: "internal/plot", stdlibOnly: true},
	{dir: "internal/ports", stdlibOnly: true},
	{dir: "internal/smalldisk", stdlibOnly: true},
	{dir: "internal/leaks"},
	{dir: "internal/machines", unlinked: join(grpc, raft)},
	{dir: "internal/archtest", stdlibOnly: true},
	{dir: "internal/atomicfile", stdlibOnly: true},
	{dir: "internal/dirlock", stdlibOnly: true},
	{dir: "internal/sealedfile", own: []string{"internal/atomicfile"}, stdlibOnly: true},
	{dir: "internal/loglimit", stdlibOnly: true},
	{dir: "internal/latency", stdlibOnly: true},
	{dir: "internal/requestid", stdlibOnly: true},
	{dir: "internal/stopwatch", stdlibOnly: true},
	{dir: "internal/ticks", stdlibOnly: true},
}

// houseRules are the rules of this repository.
var houseRules = rules{
	layers:        layers,
	entry:         "cmd",
	testLibraries: testLibraries,
	testSupport:   testSupport,
	maxLines:      maxLines,
	vagueNames:    vagueNames,
	packageTexts:  packageTexts,
}

func join(lists ...[]string) []string {
	var all []string
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}
