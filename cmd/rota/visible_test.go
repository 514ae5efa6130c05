package main

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/rota-scheduler/rota/api/jsonv1"
	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// evil is a name that others may choose: with a sequence that a terminal obeys, another one of a single
// character, more lines and columns, marks that turn the direction of text, and characters that are no text.
const evil = "a\x1b[31mb\u009b1mc\rd\ne\tf\u202eg\u2066h\u0000i\u200bj\ufeffk"

func TestVisibleTextIsPrintable(t *testing.T) {
	t.Parallel()
	require.Equal(t, `a\x1b[31mb\u009b1mc\rd\ne\tf\u202eg\u2066h\x00i\u200bj\ufeffk`, visible(evil))
	require.Equal(t, `\xff\xfeü`, visible("\xff\xfeü"))
	for _, same := range []string{"", "plain text", "日本語, ü and ñ", `back\slash`, visible(evil)} {
		require.Equal(t, same, visible(same))
	}
}

// requirePrintable requires that text has no character that a terminal obeys.
func requirePrintable(t *testing.T, text string) {
	t.Helper()
	require.True(t, utf8.ValidString(text), "%q", text)
	for line := range strings.SplitSeq(text, "\n") {
		require.Equal(t, visible(line), line)
	}
}

// TestNoVerbShowsWhatATerminalObeys runs every verb that shows what servers say against a server
// that has evil in each string of each answer.
func TestNoVerbShowsWhatATerminalObeys(t *testing.T) {
	t.Parallel()
	answers, errors := evilServer(t, nil), evilServer(t, status.Error(codes.InvalidArgument, evil))
	verbs := map[string][]string{
		"run":                     {"--", "true"},
		"submit":                  {"--wait", "--", "true"},
		"map":                     {"--", "true"},
		"job list":                nil,
		"job get":                 {"7"},
		"job wait":                {"7"},
		"job results":             {"7"},
		"job logs":                {"7"},
		"job cancel":              {"7", "--wait"},
		"job retry":               {"7", "--wait"},
		"worker list":             nil,
		"worker get":              {evil},
		"cluster status":          nil,
		"cluster verify":          nil,
		"cluster transfer-leader": nil,
		"cluster add":             {"n1"},
		"cluster promote":         {"n1"},
		"cluster demote":          {"n1"},
		"cluster remove":          {"n1"},
		"events":                  nil,
		"debug bundle":            {"--out", filepath.Join(t.TempDir(), "evil.tar.gz")},
		"cluster snapshot save":   {filepath.Join(t.TempDir(), "evil.backup")},
		"token create":            {"--role", "read", "--name", "n"},
		"token list":              nil,
		"token revoke":            {evil},
		"whoami":                  nil,
		"login":                   {"prod"},
		"bench":                   {"--runs", "1", "--tasks", "1"},
	}
	// These verbs show nothing that comes from a server.
	own := []string{
		"server start", "worker start", "config check", "config show", "dev", "demo", "version", "help",
		"completion bash", "completion fish", "completion powershell", "completion zsh",
		"context list", "context use", "context remove",
		"tls init", "tls ca", "tls cert", "tls show", // TestACertificateOfOthersIsShownInPlainText
		"cluster snapshot inspect", "cluster snapshot restore", "cluster recover", "cluster compact", // TestABackupOfOthersIsShownInPlainText
	}
	for _, verb := range leaves((&app{}).root(), nil) {
		_, shown := verbs[verb]
		require.True(t, shown != slices.Contains(own, verb), "does rota %s show what others say?", verb)
	}
	tasks := map[string][]string{"job get of a task": {"job", "get", "7.0"}, "job list of all": {"job", "list", "--limit", "0"}}
	for verb, args := range verbs {
		tasks[verb] = append(strings.Fields(verb), args...)
	}
	for name, args := range tasks {
		for kind, addr := range map[string]string{"answers": answers, "errors": errors} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				var out, err bytes.Buffer
				flags := []string{"--addr", addr, "--request-timeout", "10s"}
				at := slices.Index(args, "--")
				if at < 0 {
					at = len(args)
				}
				a := &app{in: strings.NewReader("one\n"), out: &out, err: &err, env: func(string) string { return "" }}
				a.run(t.Context(), slices.Insert(slices.Clone(args), at, flags...))
				require.NotEmpty(t, out.String()+err.String())
				requirePrintable(t, out.String())
				requirePrintable(t, err.String())
				if kind == "errors" || name == "run" || strings.HasPrefix(name, "job results") {
					require.Contains(t, out.String()+err.String(), `\x1b[31m`)
				}
			})
		}
	}
}

// leaves returns the verbs of a command, each after its groups.
func leaves(cmd *cobra.Command, path []string) (out []string) {
	for _, c := range cmd.Commands() {
		at := append(slices.Clone(path), c.Name())
		if len(c.Commands()) == 0 {
			out = append(out, strings.Join(at, " "))
		}
		out = append(out, leaves(c, at)...)
	}
	return out
}

// evilServer serves every method of the API: with an error, or with an answer that is full of evil.
func evilServer(t *testing.T, err error) (addr string) {
	t.Helper()
	l, listenErr := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, listenErr)
	s := grpc.NewServer(wire.ServerOptions(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		return serveEvil(stream, err)
	}))...)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return l.Addr().String()
}

func serveEvil(stream grpc.ServerStream, err error) error {
	path, _ := grpc.MethodFromServerStream(stream)
	name := protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(path, "/"), "/", "."))
	found, lookup := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if lookup != nil {
		return status.Error(codes.Unimplemented, lookup.Error())
	}
	method := found.(protoreflect.MethodDescriptor)
	for {
		in, out := newMessage(method.Input()), newMessage(method.Output())
		if recv := stream.RecvMsg(in); recv != nil {
			return nil //nolint:nilerr // A stream that has ended.
		}
		if err != nil && name.Name() != "WatchLeader" {
			return err
		}
		fill(out.ProtoReflect(), 0)
		if submits, ok := in.(*rotav1.SubmitStreamRequest); ok {
			out = submitAnswers(submits)
		}
		if sent := stream.SendMsg(out); sent != nil {
			return sent
		}
		if !method.IsStreamingClient() && name.Name() != "WatchLeader" {
			return nil
		}
	}
}

// submitAnswers answers each submit with a job, and says that it does not follow the job.
func submitAnswers(r *rotav1.SubmitStreamRequest) proto.Message {
	out := &rotav1.SubmitStreamResponse{}
	for _, item := range r.GetSubmits() {
		out.Answers = append(out.Answers, &rotav1.SubmitAnswer{Seq: item.GetSeq(), Response: &rotav1.SubmitResponse{JobId: 7}})
		if item.GetFollow() {
			out.Results = append(out.Results, &rotav1.FollowedResults{Seq: item.GetSeq(), Lost: true})
		}
	}
	return out
}

func newMessage(d protoreflect.MessageDescriptor) proto.Message {
	kind, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		panic(err)
	}
	return kind.New().Interface()
}

// fill puts evil into each string of a message. The other fields describe a failed job of one task, so that verbs
// come to their end.
func fill(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.Name() == "next_page_token" || f.Name() == "handler" || depth > 4:
		case f.IsMap():
			m.Mutable(f).Map().Set(protoreflect.ValueOfString(evil).MapKey(), protoreflect.ValueOfString(evil))
		case f.IsList() && f.Message() != nil:
			fill(m.Mutable(f).List().AppendMutable().Message(), depth+1)
		case f.IsList():
			m.Mutable(f).List().Append(filled(f))
		case f.Message() != nil:
			fill(m.Mutable(f).Message(), depth+1)
		default:
			m.Set(f, filled(f))
		}
	}
}

func filled(f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(evil)
	case protoreflect.EnumKind:
		number := protoreflect.EnumNumber(1)
		switch f.Enum().FullName() {
		case "rota.v1.JobState":
			number = rotav1.JobState_JOB_STATE_FAILED.Number()
		case "rota.v1.TaskState":
			number = rotav1.TaskState_TASK_STATE_FAILED.Number()
		case "rota.v1.LogEvent":
			number = rotav1.LogEvent_LOG_EVENT_SILENT.Number()
		}
		return protoreflect.ValueOfEnum(number)
	case protoreflect.Uint32Kind:
		if f.Name() == "first" || f.Name() == "index" {
			return protoreflect.ValueOfUint32(0)
		}
		return protoreflect.ValueOfUint32(1)
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(7)
	case protoreflect.Sint64Kind:
		return protoreflect.ValueOfInt64(7)
	case protoreflect.BytesKind:
		if f.Name() == "cursor" {
			return protoreflect.ValueOfBytes([]byte("c"))
		}
		return f.Default()
	default:
		return f.Default()
	}
}

// TestTheOutputOfTasksIsPassedOnAsItIs: it is data, and often meant for a terminal.
func TestTheOutputOfTasksIsPassedOnAsItIs(t *testing.T) {
	t.Parallel()
	var out, err bytes.Buffer
	a := &app{out: &out, err: &err}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := a.newScreen(ctx, nil)
	s.sayBehind([]byte(evil+"\n"), "rota: %s", task.Failed)
	require.NoError(t, s.close())
	require.Equal(t, evil+"\nrota: failed\n", err.String())
}

func TestLogLinesArePrintable(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		log, err := (&logFlags{level: "info", format: format}).logger(&out)
		require.NoError(t, err)
		log.Info(evil, "worker", evil)
		if format == "text" {
			requirePrintable(t, out.String())
		}
		require.Equal(t, 1, strings.Count(out.String(), "\n"))
		require.NotContains(t, out.String(), "\x1b")
	}
}

// TestTheTableOfABenchHasItsColumns: no cell contains the separator of columns.
func TestTheTableOfABenchHasItsColumns(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	b := &bench{app: &app{out: &out, format: formatTable}}
	require.NoError(t, b.report(&jsonv1.Bench{Workloads: []jsonv1.BenchWorkload{summarize("array", 10, []benchRun{{submit: 1, total: 2}})}}))
	require.Equal(t, "WORKLOAD  TASKS  RUNS  MEASURE              MEDIAN  RANGE\narray     10     1     end to end, tasks/s  5       5 to 5\n", out.String())
}
