package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestArrays(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]array{
		"0-999":                 {first: 0, step: 1, count: 1000},
		"5":                     {first: 5, step: 1, count: 1},
		"1-9:3":                 {first: 1, step: 3, count: 3},
		"1-10:3":                {first: 1, step: 3, count: 4},
		"0-99%7":                {first: 0, step: 1, count: 100, maxParallel: 7},
		"7-7:5%2":               {first: 7, step: 5, count: 1, maxParallel: 2},
		"4294967295-4294967295": {first: 4294967295, step: 1, count: 1},
		"0-4294967295:4294967":  {first: 0, step: 4294967, count: 1001},
		"0-999999":              {first: 0, step: 1, count: 1_000_000},
	} {
		got, err := parseArray(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
}

func TestMalformedArraysAreRefused(t *testing.T) {
	t.Parallel()
	for text, why := range map[string]string{
		"":             `first index "" is not a number`,
		"-":            `first index "" is not a number`,
		"-5":           `first index "" is not a number`,
		"1-":           `last index "" is not a number`,
		"+1-2":         `first index "+1" is not a number`,
		"1_0-20":       `first index "1_0" is not a number`,
		" 1-2":         `first index " 1" is not a number`,
		"1-2-3":        `last index "2-3" is not a number`,
		"1,2":          `first index "1,2" is not a number`,
		"9-1":          "it ends before it begins",
		"0-9:":         `step "" is not a number`,
		"0-9:0":        "the step is 0",
		"0-9:1:2":      `step "1:2" is not a number`,
		"0-9%":         `limit behind % "" is not a number`,
		"0-9%0":        "the limit behind % is 0",
		"0-9%1%2":      `limit behind % "1%2" is not a number`,
		"0-9%2:3":      `limit behind % "2:3" is not a number`,
		"0-4294967296": "last index 4294967296 is too large",
		"0-1000000":    "has 1000001 tasks, the limit is 1000000",
	} {
		_, err := parseArray(text)
		require.ErrorContains(t, err, why, text)
		require.Equal(t, exitUsage, exitCode(err), text)
	}
}

func FuzzArrays(f *testing.F) {
	for _, seed := range []string{"0-999", "1-9:3%2", "", "--", "9%%"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parseArray(text)
		if err != nil {
			require.Equal(t, exitUsage, exitCode(err))
			return
		}
		last := uint64(a.first) + uint64(a.step)*uint64(a.count-1)
		require.LessOrEqual(t, last, uint64(1)<<32-1)
		require.Positive(t, a.count)
		require.False(t, strings.ContainsAny(text, " \n+"))
	})
}
