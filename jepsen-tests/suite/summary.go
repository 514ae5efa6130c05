package suite

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rota-scheduler/rota/jepsen-tests/checker"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// Row is one test in a summary of many.
type Row struct {
	Workload, Nemesis, LogStore string
	Servers                     int
	Seed                        uint64
	Verdict                     checker.Verdict
	// Submits is the acknowledged submits and appends, Calls all calls, Unknown those that
	// nobody knows the end of.
	Submits, Calls, Unknown int
	Leaders                 int
	// Faults is how many there were, Effective how many of them did something.
	Faults, Effective int
	// Recoveries is the time from each heal to the next acknowledged submit.
	Recoveries []time.Duration
	// Refused is the reports of workers that were refused.
	Refused int64
	// Wrong is what is not valid, a line each.
	Wrong []string
	// Dir is the folder of the run, Command what repeats it.
	Dir, Command string
}

// Summarize makes the row of a run. What the run was asked to be is for the caller to add.
func Summarize(ops []history.Op, rep checker.Report) (Row, error) {
	c := rep.Counts
	row := Row{Verdict: rep.Verdict, Calls: c.Ops, Unknown: c.Infos, Leaders: c.Leaders, Faults: c.Faults, Effective: c.Effective, Recoveries: c.Recoveries}
	for _, op := range ops {
		if !op.F.Grows() || op.Type != history.OK {
			continue
		}
		// A key that is taken, or a place, is an answer and makes nothing.
		answer, err := history.Decode[struct{ Conflict, Refused bool }](op)
		if err != nil {
			return row, err
		}
		if !answer.Conflict && !answer.Refused {
			row.Submits++
		}
	}
	refused, err := history.Noted[history.Refused](ops, history.FRefused)
	if err != nil {
		return row, err
	}
	for _, r := range refused {
		row.Refused += r.Value.Reports
	}
	for _, r := range rep.Results {
		if r.Verdict != checker.Invalid && r.Verdict != checker.Unknown {
			continue
		}
		what := r.Note
		if len(r.Problems) > 0 {
			what = r.Problems[0]
		}
		row.Wrong = append(row.Wrong, fmt.Sprintf("%s %s: %s", r.Name, r.Verdict, what))
	}
	return row, nil
}

// columns is the columns of a summary.
var columns = []string{"workload", "fault", "servers", "log store", "seed", "verdict", "acked submits", "calls", "unknown", "leader changes", "faults (effective)", "refused reports"}

func (r *Row) cells() []string {
	return []string{
		r.Workload, r.Nemesis, strconv.Itoa(r.Servers), r.LogStore, strconv.FormatUint(r.Seed, 10), string(r.Verdict), strconv.Itoa(r.Submits),
		strconv.Itoa(r.Calls), strconv.Itoa(r.Unknown), strconv.Itoa(r.Leaders), fmt.Sprintf("%d (%d)", r.Faults, r.Effective), strconv.FormatInt(r.Refused, 10),
	}
}

// Totals says in a line what many tests came to.
func Totals(rows []Row, took time.Duration) string {
	verdicts := map[checker.Verdict]int{}
	var submits, calls, leaders, effective int
	var refused int64
	recoveries := Recoveries(rows)
	for i := range rows {
		r := &rows[i]
		verdicts[r.Verdict]++
		submits, calls, leaders, effective, refused = submits+r.Submits, calls+r.Calls, leaders+r.Leaders, effective+r.Effective, refused+r.Refused
	}
	return fmt.Sprintf("%d tests in %v: %d valid, %d invalid, %d unknown; %d calls, %d acknowledged submits, %d changes of leader, %d faults with an effect, %d refused reports, %s",
		len(rows), took.Round(time.Second), verdicts[checker.Valid], verdicts[checker.Invalid], verdicts[checker.Unknown], calls, submits, leaders, effective, refused, recovered(recoveries))
}

// Recoveries is those of all tests together, the quickest first.
func Recoveries(rows []Row) (all []time.Duration) {
	for i := range rows {
		all = append(all, rows[i].Recoveries...)
	}
	slices.Sort(all)
	return all
}

// recovered says how soon submits were acknowledged after the heals of many tests.
func recovered(sorted []time.Duration) string {
	n := len(sorted)
	if n == 0 {
		return "no recovery was measured"
	}
	at := func(i int) time.Duration { return sorted[i].Round(time.Millisecond) }
	late, allowed := checker.Late(sorted)
	return fmt.Sprintf("heal to the next acknowledged submit: median %v, p99 %v, longest %v of %d, %d later than %v (allowed: %d)",
		at(n/2), at(max(0, n-1-n/100)), at(n-1), n, late, checker.RecoverySoon, allowed)
}

// WriteTable writes a summary for a terminal.
func WriteTable(to io.Writer, rows []Row, took time.Duration) error {
	t := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.ToUpper(strings.Join(columns, "\t")))
	for i := range rows {
		fmt.Fprintln(t, strings.Join(rows[i].cells(), "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(to, Totals(rows, took))
	return err
}

// WriteMarkdown writes a summary as a document: a table, what was wrong, and how to run each
// test again.
func WriteMarkdown(to io.Writer, rows []Row, version string, took time.Duration) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Chaos report\n\n%s. %s.\n\n", version, Totals(rows, took))
	if len(rows) > maxRows {
		writeMatrix(&b, rows)
	} else {
		fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
		for i := range rows {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(rows[i].cells(), " | "))
		}
	}
	if slices.ContainsFunc(rows, func(r Row) bool { return len(r.Wrong) > 0 }) {
		b.WriteString("\n## What is not valid\n")
		for i := range rows {
			r := &rows[i]
			if len(r.Wrong) == 0 {
				continue
			}
			fmt.Fprintf(&b, "\n%s under %s, %d servers, seed %d: %s, by `%s`\n\n", r.Workload, r.Nemesis, r.Servers, r.Seed, r.Verdict, r.Command)
			for _, w := range r.Wrong {
				fmt.Fprintf(&b, "- %s\n", strings.ReplaceAll(strings.TrimSpace(w), "\n", " "))
			}
		}
	}
	b.WriteString("\n## The same tests again\n\nThe seed decides every choice of the suite; processes and the kernel keep their own time.\n\n```\n")
	for i := range rows {
		fmt.Fprintln(&b, rows[i].Command)
		if len(rows) > maxRows {
			b.WriteString("# the others differ in workload, fault, number of servers, and in what stands in brackets above\n")
			break
		}
	}
	b.WriteString("```\n")
	_, err := io.WriteString(to, b.String())
	return err
}
