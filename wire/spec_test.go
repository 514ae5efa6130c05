package wire_test

import (
	"encoding/hex"
	"maps"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// fullSpecs are specs that together have no field left out, except Retried, which is a field of Job.
// Their maps have one entry, so that they have one encoding.
func fullSpecs() (handler, command *task.Spec) {
	pair := func(key string) []task.Pair { return []task.Pair{{Key: key, Value: "v"}} }
	spec := task.Spec{
		Name: "n", Queue: "q", Policy: task.Random, Serial: true, MaxParallel: 3, Priority: -7, MaxAttempts: 9,
		Timeout: time.Second, Delay: time.Minute, NotBefore: 5, Expire: time.Hour, Retention: 2 * time.Hour,
		Require: pair("require"), Meta: pair("meta"), Values: []task.ValueRun{{First: 1, Step: 2, Count: 3}}, SharedPayload: []byte("payload"),
	}
	withHandler, withCommand := spec, spec
	withHandler.Handler = "h"
	withCommand.Command, withCommand.Env, withCommand.Cwd, withCommand.Placeholder = []string{"c", "", "d"}, pair("env"), "/", "{}"
	withCommand.Stdout, withCommand.StdoutPath = task.StdoutFile, "/out"
	return &withHandler, &withCommand
}

// requireAllSet fails if a field is left out of all of values, which are structs.
func requireAllSet(t *testing.T, values []reflect.Value, but ...string) {
	t.Helper()
	for i := range values[0].NumField() {
		set := false
		for _, v := range values {
			set = set || !v.Field(i).IsZero()
		}
		if name := values[0].Type().Field(i).Name; !set {
			require.Contains(t, but, name, "set it in fullSpecs: only then does this test notice that it gets lost")
		}
	}
}

func TestNoFieldOfASpecIsLostOnTheWire(t *testing.T) {
	t.Parallel()
	handler, command := fullSpecs()
	requireAllSet(t, []reflect.Value{reflect.ValueOf(*handler), reflect.ValueOf(*command)}, "Retried")
	for _, want := range []*task.Spec{handler, command} {
		got, err := wire.SpecFromProto(wire.SpecToProto(want))
		require.NoError(t, err)
		require.Equal(t, *want, got)
	}
}

func TestNoFieldOfAWorkIsLostOnTheWire(t *testing.T) {
	t.Parallel()
	handler, command := fullSpecs()
	requireAllSet(t, []reflect.Value{reflect.ValueOf(handler.Work()), reflect.ValueOf(command.Work())})
	for _, s := range []*task.Spec{handler, command} {
		got, err := wire.WorkFromProto(wire.WorkToProto(s))
		require.NoError(t, err)
		require.Equal(t, s.Work(), got)
	}
}

func TestAWorkThatCannotBeRunAsItSaysIsRefused(t *testing.T) {
	t.Parallel()
	_, err := wire.WorkFromProto(&rotav1.WorkSpec{Work: &rotav1.WorkSpec_Command{Command: &rotav1.CommandWork{Argv: []string{"c"}, Stdout: 4}}})
	require.ErrorIs(t, err, task.ErrInvalid)
}

// Servers, clients and workers of other builds send and read these bytes.
func TestTheMessagesOfSpecsNeverChange(t *testing.T) {
	t.Parallel()
	handler, command := fullSpecs()
	for _, tt := range []struct {
		m    proto.Message
		want string
	}{
		{wire.SpecToProto(handler), "0a016e12017128023002380340f9ffffffffffffffff014809520208015a02083c620210056a0308901c720c0a07726571756972651201767a090a046d65746112017682010308a0388a01060801100218039201077061796c6f61641a030a0168"},
		{wire.SpecToProto(command), "0a016e12017128023002380340f9ffffffffffffffff014809520208015a02083c620210056a0308901c720c0a07726571756972651201767a090a046d65746112017682010308a0388a01060801100218039201077061796c6f616422210a01630a000a016412080a03656e761201761a012f22027b7d280332042f6f7574"},
		{wire.WorkToProto(handler), "1a02080120013a077061796c6f616442016e4a01710a030a0168"},
		{wire.WorkToProto(command), "1a02080120013a077061796c6f616442016e4a017112210a01630a000a016412080a03656e761201761a012f22027b7d280332042f6f7574"},
	} {
		got, err := proto.MarshalOptions{Deterministic: true}.Marshal(tt.m)
		require.NoError(t, err)
		require.Equal(t, tt.want, hex.EncodeToString(got))
	}
}

// pairs draws a map as sorted pairs, the form in which specs keep them.
func pairs(t *rapid.T, label string) []task.Pair {
	m := rapid.MapOfN(rapid.String(), rapid.String(), 0, 5).Draw(t, label)
	var out []task.Pair
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, task.Pair{Key: k, Value: m[k]})
	}
	return out
}

func drawSpec(t *rapid.T) task.Spec {
	duration := rapid.Map(rapid.Int64Range(0, int64(task.MaxDelay)), func(n int64) time.Duration { return time.Duration(n) })
	s := task.Spec{
		Name:        rapid.String().Draw(t, "name"),
		Queue:       rapid.String().Draw(t, "queue"),
		Policy:      rapid.SampledFrom([]task.Policy{0, task.LeastLoaded, task.Random}).Draw(t, "policy"),
		Serial:      rapid.Bool().Draw(t, "serial"),
		MaxParallel: rapid.Uint32().Draw(t, "max parallel"),
		Priority:    rapid.Int32().Draw(t, "priority"),
		MaxAttempts: rapid.Uint32().Draw(t, "attempts"),
		Timeout:     duration.Draw(t, "timeout"),
		Expire:      duration.Draw(t, "expire"),
		Retention:   duration.Draw(t, "retention"),
		Require:     pairs(t, "require"),
		Meta:        pairs(t, "meta"),
	}
	for range rapid.IntRange(0, 3).Draw(t, "values") {
		s.Values = append(s.Values, task.ValueRun{First: rapid.Uint32().Draw(t, "first"), Step: rapid.Uint32().Draw(t, "step"), Count: rapid.Uint32().Draw(t, "count")})
	}
	if rapid.Bool().Draw(t, "moment") {
		s.NotBefore = rapid.Int64Range(1, math.MaxInt64-int64(2*time.Second)).Draw(t, "not before")
	} else {
		s.Delay = duration.Draw(t, "delay")
	}
	if payload := rapid.SliceOf(rapid.Byte()).Draw(t, "payload"); len(payload) > 0 {
		s.SharedPayload = payload
	}
	if rapid.Bool().Draw(t, "is handler") {
		s.Handler = rapid.StringN(1, 20, 80).Draw(t, "handler")
	} else {
		s.Command = rapid.SliceOfN(rapid.String(), 1, 5).Draw(t, "command")
		s.Env = pairs(t, "env")
		s.Cwd = rapid.String().Draw(t, "cwd")
		s.Placeholder = rapid.String().Draw(t, "placeholder")
		s.Stdout = rapid.SampledFrom([]task.Stdout{0, task.StdoutFull, task.StdoutDiscard, task.StdoutFile}).Draw(t, "stdout")
		s.StdoutPath = rapid.String().Draw(t, "stdout path")
	}
	return s
}

func TestSpecsSurviveTheWayOverTheWire(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := drawSpec(t)
		data, err := proto.Marshal(wire.SpecToProto(&want))
		require.NoError(t, err)
		var p rotav1.JobSpec
		require.NoError(t, proto.Unmarshal(data, &p))
		got, err := wire.SpecFromProto(&p)
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

func TestMalformedSpecsAreRefused(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]*rotav1.JobSpec{
		"no spec":             nil,
		"unknown policy":      {Policy: 99},
		"negative policy":     {Policy: -1},
		"unknown execution":   {Execution: 7},
		"unknown stdout":      {Work: &rotav1.JobSpec_Command{Command: &rotav1.CommandWork{Stdout: 4}}},
		"negative timeout":    {Timeout: durationpb.New(-1)},
		"overflowing delay":   {Delay: &durationpb.Duration{Seconds: math.MaxInt64 / 2}},
		"clamped delay":       {Delay: &durationpb.Duration{Seconds: 315_000_000_000}},
		"mixed signs":         {Expire: &durationpb.Duration{Seconds: 1, Nanos: -1}},
		"too long retention":  {Retention: durationpb.New(task.MaxDelay + 1)},
		"moment before 1970":  {NotBefore: &timestamppb.Timestamp{Seconds: -1}},
		"moment after 2262":   {NotBefore: &timestamppb.Timestamp{Seconds: 20_000_000_000}},
		"malformed timestamp": {NotBefore: &timestamppb.Timestamp{Nanos: -1}},
	} {
		_, err := wire.SpecFromProto(p)
		require.ErrorIs(t, err, task.ErrInvalid, name)
	}
}

func BenchmarkSpecToProto(b *testing.B) {
	for name, s := range benchmarkSpecs() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				wire.SpecToProto(s)
			}
		})
	}
}

func BenchmarkWorkToProto(b *testing.B) {
	for name, s := range benchmarkSpecs() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				wire.WorkToProto(s)
			}
		})
	}
}

func BenchmarkSpecFromProto(b *testing.B) {
	for name, s := range benchmarkSpecs() {
		p := wire.SpecToProto(s)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := wire.SpecFromProto(p)
				require.NoError(b, err)
			}
		})
	}
}

func benchmarkSpecs() map[string]*task.Spec {
	_, command := fullSpecs()
	return map[string]*task.Spec{"handler": {Handler: "h", Queue: "q"}, "command": command}
}
