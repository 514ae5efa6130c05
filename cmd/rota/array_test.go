package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

func TestArrays(t *testing.T) {
	t.Parallel()
	run := func(first, step, count uint32) task.ValueRun {
		return task.ValueRun{First: first, Step: step, Count: count}
	}
	for text, want := range map[string]array{
		"0-999":                 {runs: []task.ValueRun{run(0, 1, 1000)}, count: 1000},
		"5":                     {runs: []task.ValueRun{run(5, 1, 1)}, count: 1},
		"1-9:3":                 {runs: []task.ValueRun{run(1, 3, 3)}, count: 3},
		"1-10:3":                {runs: []task.ValueRun{run(1, 3, 4)}, count: 4},
		"0-99%7":                {runs: []task.ValueRun{run(0, 1, 100)}, count: 100, maxParallel: 7},
		"7-7:5%2":               {runs: []task.ValueRun{run(7, 5, 1)}, count: 1, maxParallel: 2},
		"4294967295-4294967295": {runs: []task.ValueRun{run(4294967295, 1, 1)}, count: 1},
		"0-4294967295:4294967":  {runs: []task.ValueRun{run(0, 4294967, 1001)}, count: 1001},
		"0-999999":              {runs: []task.ValueRun{run(0, 1, 1_000_000)}, count: 1_000_000},
		"1,3,5-9:2%4":           {runs: []task.ValueRun{run(1, 1, 1), run(3, 1, 1), run(5, 2, 3)}, count: 5, maxParallel: 4},
		"0,1,2,3-9":             {runs: []task.ValueRun{run(0, 1, 10)}, count: 10},
		"9,1,9":                 {runs: []task.ValueRun{run(9, 1, 1), run(1, 1, 1), run(9, 1, 1)}, count: 3},
	} {
		got, err := parseArray(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
		if got.values() != nil {
			values := task.Spec{Values: got.values()}
			require.EqualValues(t, got.count, values.ValueCount(), text)
		}
	}
}

func TestMalformedArraysAreRefused(t *testing.T) {
	t.Parallel()
	for text, why := range map[string]string{
		"":                    `value "" is not a number`,
		"-":                   `value "" is not a number`,
		"-5":                  `value "" is not a number`,
		"1-":                  `last value "" is not a number`,
		"+1-2":                `value "+1" is not a number`,
		"1_0-20":              `value "1_0" is not a number`,
		" 1-2":                `value " 1" is not a number`,
		"1-2-3":               `last value "2-3" is not a number`,
		"1,":                  `value "" is not a number`,
		"1,,2":                `value "" is not a number`,
		"1, 2":                `value " 2" is not a number`,
		"1%2,3":               `limit after % "2,3" is not a number`,
		"0-4294967295":        "has at least 4294967295 tasks, and the limit is 10000000",
		"1-6000000,1-6000000": "has at least 12000000 tasks",
		"9-1":                 "9-1 ends before it begins",
		"0-9:":                `step "" is not a number`,
		"0-9:0":               "the step is 0",
		"0-9:1:2":             `step "1:2" is not a number`,
		"0-9%":                `limit after % "" is not a number`,
		"0-9%0":               "the limit after % is 0",
		"0-9%1%2":             `limit after % "1%2" is not a number`,
		"0-9%2:3":             `limit after % "2:3" is not a number`,
		"0-4294967296":        "last value 4294967296 is too large",
		"0-10000000":          "has at least 10000001 tasks, and the limit is 10000000",
	} {
		_, err := parseArray(text)
		require.ErrorContains(t, err, why, text)
		require.Equal(t, exitUsage, exitCode(err), text)
	}
}

func FuzzArrays(f *testing.F) {
	for _, seed := range []string{"0-999", "1-9:3%2", "", "--", "9%%", "1,3,5-9:2%4"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parseArray(text)
		if err != nil {
			require.Equal(t, exitUsage, exitCode(err))
			return
		}
		for _, r := range a.runs {
			require.LessOrEqual(t, uint64(r.First)+uint64(r.Step)*uint64(r.Count-1), uint64(1)<<32-1)
		}
		require.Positive(t, a.count)
		require.False(t, strings.ContainsAny(text, " \n+"))
	})
}
