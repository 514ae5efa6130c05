package main

import (
	"strconv"
	"strings"

	"github.com/rota-scheduler/rota/task"
)

// array is a parsed --array: tasks with values first, first+step, and so on up to last.
type array struct {
	first, step uint32
	count       int
	// maxParallel is the number behind %; 0: none was given.
	maxParallel uint32
}

const arrayForm = "expected first-last, such as 0-999, and then :step and %max-parallel where wanted"

// parseArray parses "0-999", "1-99:2", "0-999%10" or "5".
func parseArray(s string) (array, error) {
	bad := func(why string) (array, error) {
		return array{}, usagef("malformed array %q: %s; %s", s, why, arrayForm)
	}
	rest, limit, hasLimit := strings.Cut(s, "%")
	rest, step, hasStep := strings.Cut(rest, ":")
	first, last, hasLast := strings.Cut(rest, "-")
	if !hasLast {
		last = first
	}
	a := array{step: 1}
	numbers := []struct {
		name, text string
		given      bool
		to         *uint32
	}{
		{"first index", first, true, &a.first},
		{"last index", last, true, new(uint32)},
		{"step", step, hasStep, &a.step},
		{"limit behind %", limit, hasLimit, &a.maxParallel},
	}
	for _, n := range numbers {
		if !n.given {
			continue
		}
		if !isDigits(n.text) {
			return bad("the " + n.name + " " + strconv.Quote(n.text) + " is not a number")
		}
		v, err := strconv.ParseUint(n.text, 10, 32)
		if err != nil {
			return bad("the " + n.name + " " + n.text + " is too large")
		}
		*n.to = uint32(v)
	}
	end := *numbers[1].to
	switch {
	case end < a.first:
		return bad("it ends before it begins")
	case hasStep && a.step == 0:
		return bad("the step is 0")
	case hasLimit && a.maxParallel == 0:
		return bad("the limit behind % is 0")
	}
	count := uint64(end-a.first)/uint64(a.step) + 1
	if count > task.MaxTasks {
		return array{}, usagef("array %q has %d tasks, the limit is %d; make several jobs of them", s, count, task.MaxTasks)
	}
	a.count = int(count)
	return a, nil
}

// isDigits refuses what ParseUint lets through elsewhere: signs and underscores.
func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
