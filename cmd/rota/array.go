package main

import (
	"strconv"
	"strings"

	"github.com/rota-scheduler/rota/task"
)

// array is a parsed --array: a task for each value of each run, in the order given.
type array struct {
	runs  []task.ValueRun
	count int
	// maxParallel is the number after %; 0: none was given.
	maxParallel uint32
}

const arrayForm = "expected values and ranges, such as 0-999 or 1,3,5-9:2, and optionally %max-parallel"

// parseArray parses "0-999", "1-99:2", "1,3,5-9:2%4" or "5".
func parseArray(s string) (array, error) {
	var a array
	list, limit, limited := strings.Cut(s, "%")
	for text := range strings.SplitSeq(list, ",") {
		run, why := parseRun(text)
		if why != "" {
			return array{}, usagef("malformed array %q: %s; %s", s, why, arrayForm)
		}
		a.add(run)
		if a.count > task.MaxTasks {
			return array{}, usagef("array %q has at least %d tasks, and the limit is %d: make several jobs", s, a.count, task.MaxTasks)
		}
	}
	if limited {
		n, why := parseNumber("limit after %", limit)
		if why == "" && n == 0 {
			why = "the limit after % is 0"
		}
		if why != "" {
			return array{}, usagef("malformed array %q: %s; %s", s, why, arrayForm)
		}
		a.maxParallel = n
	}
	return a, nil
}

// values are those of a job with this array; none if the value of each task is its index.
func (a *array) values() []task.ValueRun {
	if len(a.runs) == 1 && a.runs[0].First == 0 && a.runs[0].Step == 1 {
		return nil
	}
	return a.runs
}

// add adds a run. If it continues the last run, that one becomes longer.
func (a *array) add(r task.ValueRun) {
	a.count += int(r.Count)
	if n := len(a.runs); n > 0 {
		last := &a.runs[n-1]
		if last.Step == r.Step && uint64(last.First)+uint64(last.Step)*uint64(last.Count) == uint64(r.First) {
			last.Count += r.Count
			return
		}
	}
	a.runs = append(a.runs, r)
}

// parseRun parses a value, or first-last[:step]. why says what is wrong with it; "": nothing.
func parseRun(s string) (r task.ValueRun, why string) {
	values, step, stepped := strings.Cut(s, ":")
	first, last, isRange := strings.Cut(values, "-")
	r.Step = 1
	if r.First, why = parseNumber("value", first); why != "" {
		return r, why
	}
	end := r.First
	if isRange {
		if end, why = parseNumber("last value", last); why != "" {
			return r, why
		}
	}
	if stepped {
		if r.Step, why = parseNumber("step", step); why != "" {
			return r, why
		}
	}
	switch {
	case end < r.First:
		return r, values + " ends before it begins"
	case r.Step == 0:
		return r, "the step is 0"
	}
	// The count cannot say 2^32, and a job cannot have so many tasks.
	r.Count = uint32(min(uint64(end-r.First)/uint64(r.Step)+1, 1<<32-1))
	return r, ""
}

func parseNumber(name, s string) (n uint32, why string) {
	if !isDigits(s) {
		return 0, "the " + name + " " + strconv.Quote(s) + " is not a number"
	}
	v, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, "the " + name + " " + s + " is too large"
	}
	return uint32(v), ""
}

// isDigits reports whether s has only digits. Then an error of ParseUint means that the number is too large.
func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
