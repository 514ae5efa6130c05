package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// Words that tell people which task a result is of. After a retry, or for a list of lines, the index says little.

// which describes the task of a result, for the end of a message.
func which(r *client.Result) string {
	var parts []string
	if r.Attempt > 1 {
		parts = append(parts, fmt.Sprintf("attempt %d", r.Attempt))
	}
	if r.Value != r.Index {
		parts = append(parts, fmt.Sprintf("value %d", r.Value))
	}
	if len(r.Input) > 0 {
		parts = append(parts, "input "+quoteInput(r.Input, r.InputCut, task.MaxInput))
	}
	if r.RetryOf != (task.ID{}) {
		parts = append(parts, fmt.Sprintf("retry of %v", r.RetryOf))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// inputCell describes it in a table: the value of an array, or how the payload begins.
func inputCell(r *client.Result) string {
	const most = 24
	switch {
	case len(r.Input) > 0:
		return quoteInput(r.Input, r.InputCut, most)
	case r.Value != r.Index:
		return strconv.FormatUint(uint64(r.Value), 10)
	}
	return "-"
}

// quoteInput is how an input begins, on one line: most bytes of it. cut says that there is more of it.
func quoteInput(input []byte, cut bool, most int) string {
	text := string(input)
	if !cut {
		// Everybody knows that a line of standard input has an end.
		text = strings.TrimSuffix(text, "\n")
	}
	if len(text) > most {
		text, cut = text[:most], true
	}
	if cut {
		text = task.WholeRunes(text)
	}
	quoted := strconv.Quote(text)
	if cut {
		quoted += "..."
	}
	return quoted
}
