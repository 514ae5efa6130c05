package main

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker"
)

func parseSpec(t *testing.T, args ...string) *specFlags {
	t.Helper()
	var s specFlags
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	s.add(f, false, 2)
	require.NoError(t, f.Parse(args))
	return &s
}

func TestFlagsBecomeAJob(t *testing.T) {
	t.Parallel()
	s := parseSpec(t, "--name", "n", "--queue", "q", "--payload", "p", "--array", "3-9:3%2", "--alloc", "random", "--serial",
		"--priority", "-7", "--retries", "4", "--timeout", "1m", "--expire", "1h", "--at", "2030-01-31T18:00:00+01:00",
		"--require", "b=2", "--require", "a=1", "--env", "X=", "--cwd", "/tmp", "--meta", "m=x=y", "--key", "k")
	r, err := s.request([]string{"cat"}, nil)
	require.NoError(t, err)
	require.Equal(t, task.Spec{
		Name: "n", Queue: "q", Command: []string{"cat"}, Env: []task.Pair{{Key: "X"}}, Cwd: "/tmp", Policy: task.Random, Serial: true,
		MaxParallel: 2, Priority: -7, MaxAttempts: 5, Timeout: time.Minute, Expire: time.Hour,
		NotBefore: time.Date(2030, 1, 31, 17, 0, 0, 0, time.UTC).UnixNano(),
		Require:   []task.Pair{{Key: "a", Value: "1"}, {Key: "b", Value: "2"}}, Meta: []task.Pair{{Key: "m", Value: "x=y"}},
		Values: []task.ValueRun{{First: 3, Step: 3, Count: 3}}, SharedPayload: []byte("p"),
	}, r.Spec)
	require.Equal(t, 3, r.Count)
	require.Equal(t, "k", r.Key)
}

func TestPayloadFromStandardInput(t *testing.T) {
	t.Parallel()
	b, err := readPayload("-", strings.NewReader("from stdin"))
	require.NoError(t, err)
	require.Equal(t, "from stdin", string(b))
	_, err = readPayload("-", io.LimitReader(endless{}, task.MaxPayload+1))
	require.ErrorContains(t, err, "has more than 262144 bytes")
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestLinesOfMap(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"":                                   nil,
		"\n":                                 {""},
		"a\nb":                               {"a", "b"},
		"a\n\nb\n":                           {"a", "", "b"},
		"cr\r\nkept\r":                       {"cr\r", "kept\r"},
		" spaces \nx\n":                      {" spaces ", "x"},
		strings.Repeat("y", 200<<10) + "\nz": {strings.Repeat("y", 200<<10), "z"},
		strings.Repeat("y", task.MaxPayload): {strings.Repeat("y", task.MaxPayload)},
	} {
		in := bufio.NewReader(strings.NewReader(text))
		var got []string
		for {
			line, err := readLine(in, 1, delimiter{end: '\n'})
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			got = append(got, string(line))
		}
		require.Equal(t, want, got)
	}
	in := bufio.NewReader(strings.NewReader("a\n\nlast"))
	for _, want := range []string{"a\n", "\n", "last"} {
		line, err := readLine(in, 1, delimiter{end: '\n', keep: true})
		require.NoError(t, err)
		require.Equal(t, want, string(line))
	}
	_, err := readLine(in, 1, delimiter{end: '\n', keep: true})
	require.ErrorIs(t, err, io.EOF)
	_, err = readLine(bufio.NewReader(strings.NewReader(strings.Repeat("y", task.MaxPayload+1)+"\n")), 17, delimiter{end: '\n', item: "line"})
	require.ErrorContains(t, err, "line 17 of standard input has more than 262144 bytes")
}

func TestBuiltinHandlers(t *testing.T) {
	t.Parallel()
	run := func(handler, payload string, value uint32) (string, error) {
		out, err := builtinHandlers[handler](t.Context(), &worker.Task{Payload: []byte(payload), Value: value})
		return string(out), err
	}
	for _, c := range []struct {
		handler, payload string
		value            uint32
		want             string
	}{
		{"rota.square", "", 4294967295, "18446744065119617025"},
		{"rota.square", "12\n", 3, "144"},
		{"rota.square", "-100000000000", 0, "10000000000000000000000"},
		{"rota.echo", "x", 0, "x"},
		{"rota.noop", "", 1, ""},
		{"rota.noop", "p", 1, string(noopResult([]byte("p")))},
		{"rota.sleep", "1ms", 0, ""},
	} {
		got, err := run(c.handler, c.payload, c.value)
		require.NoError(t, err)
		require.Equal(t, c.want, got, c.handler)
	}
	require.Len(t, noopResult([]byte("p")), 16)
	_, err := run("rota.square", "1e3", 0)
	require.ErrorContains(t, err, "is not a decimal number")
	_, err = run("rota.sleep", "long", 0)
	require.ErrorContains(t, err, "is not a duration")
}
