package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// The formats of -o.
const (
	formatTable = "table"
	formatJSON  = "json"
	formatJSONL = "jsonl"
)

var formats = []string{formatTable, formatJSON, formatJSONL}

// printOne prints one value as JSON: indented, or on a line.
func (a *app) printOne(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	if a.format == formatJSON {
		enc.SetIndent("", "  ")
	}
	return enc.Encode(v)
}

// jsonList prints values one by one: as one JSON array, or a line for each.
type jsonList struct {
	w     io.Writer
	array bool
	count int
}

func (a *app) newJSONList(w io.Writer) *jsonList {
	return &jsonList{w: w, array: a.format == formatJSON}
}

// printNone prints an empty list for programs. People see that there is nothing.
func (a *app) printNone() error {
	if a.format == formatTable {
		return nil
	}
	return a.newJSONList(a.out).end()
}

func (l *jsonList) add(v any) error {
	var text strings.Builder
	if l.array {
		text.WriteString(map[bool]string{true: "[\n  ", false: ",\n  "}[l.count == 0])
	}
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	l.count++
	line := text.String()
	if l.array {
		line = strings.TrimSuffix(line, "\n")
	}
	_, err := io.WriteString(l.w, line)
	return err
}

// end closes the array.
func (l *jsonList) end() error {
	var err error
	switch {
	case l.array && l.count == 0:
		_, err = io.WriteString(l.w, "[]\n")
	case l.array:
		_, err = io.WriteString(l.w, "\n]\n")
	}
	return err
}

// table prints rows in columns. Its first row is the heading.
type table struct {
	w *tabwriter.Writer
}

func (a *app) newTable(headings ...string) *table {
	t := &table{tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)}
	t.row(headings...)
	return t
}

func (t *table) row(cells ...string) {
	for i, c := range cells {
		cells[i] = orDash(visible(c))
	}
	// The writer keeps errors, and Flush returns them.
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
}

func (t *table) end() error { return t.w.Flush() }

// fields prints names and values below each other.
func (a *app) fields(pairs ...[2]string) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, p := range pairs {
		if p[1] != "" {
			fmt.Fprint(w, visibly("%s\t%s\n", p[0], p[1]))
		}
	}
	return w.Flush()
}

// ago is how long ago a time is, for tables.
func ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return short(time.Since(t)) + " ago"
}

// short is a duration with two digits or so.
func short(d time.Duration) string {
	d = max(0, d)
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// thousands is a number in groups of three digits: 1,234,567.
func thousands(n uint64) string {
	text := strconv.FormatUint(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// bytesText is a number of bytes.
func bytesText(n uint64) string {
	if n == 1 {
		return "1 byte"
	}
	return thousands(n) + " bytes"
}

// plural is a number of things: 1 task, 2 tasks.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// orDash fills an empty cell.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// oneLine makes text fit for a cell of a table.
func oneLine(text string, limit int) string {
	text = visible(strings.Join(strings.Fields(text), " "))
	if r := []rune(text); len(r) > limit {
		text = string(r[:limit-3]) + "..."
	}
	return text
}
