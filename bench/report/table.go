package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rota-scheduler/rota/bench/harness"
	"github.com/rota-scheduler/rota/bench/stats"
)

// Table writes the report for people.
func (r *Report) Table(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(append([]string{fmt.Sprintf("%s, %d CPUs for all processes together", r.Workload, r.CPUs)}, r.Conditions...), "; ")+"\n")
	switch {
	case r.Workload == harness.Failover:
		fmt.Fprintln(w, "SYSTEM\tLOSSES\tNEXT SUBMIT p50 / p99, ms\tITS RESULT p50 / p99, ms")
		for _, s := range r.Systems {
			fmt.Fprintf(w, "%s\t%d\t%s / %s\t%s / %s\n", s.Name, s.Tasks*len(s.Runs),
				num(s.AcceptedP50MS), num(s.AcceptedP99MS), num(s.P50MS), num(s.P99MS))
		}
	case r.Workload == harness.Overload:
		r.overload(w)
	default:
		fmt.Fprintln(w, "SYSTEM\tTASKS\tRUNS\tTASKS/S\tRANGE\tp50 / p99, ms\tFLUSHES /1000\tDISK FACTOR\tCPU US A TASK")
		for _, s := range r.Systems {
			fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s to %s\t%s\t%s\t%s\t%s\n", s.Name, s.Tasks, len(s.Runs), num(s.TasksPerS),
				num(s.Range.Min), num(s.Range.Max), latency(&s), optional(s.FlushesPer1000), factor(s.DiskFactor, s.WrittenFactor), cpu(s.CPUUSPerTask))
		}
	}
	if len(r.Ratios) > 0 {
		fmt.Fprintln(w, "\nRATIO\tOF\tMEDIAN\tRANGE\tPAIRS")
	}
	for _, x := range r.Ratios {
		fmt.Fprintf(w, "%s / %s\t%s\t%s\t%s to %s\t%d\n", x.Subject, x.Peer, ofText(x.Of), num(x.Ratio), num(x.Min), num(x.Max), x.Pairs)
	}
	fmt.Fprintln(w)
	for _, s := range r.Systems {
		fmt.Fprintf(w, "%s: %s\n", s.Name, s.Note)
		if n := duplicates(s.Runs); n > 0 {
			fmt.Fprintf(w, "%s: %d results came more than once\n", s.Name, n)
		}
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(w, "not measured: %s: %s\n", s.Name, s.Reason)
	}
	for _, f := range r.Failed {
		why, _, _ := strings.Cut(f.Error, "\n")
		fmt.Fprintf(w, "failed: %s in pair %d: %s\n", f.Name, f.Pair+1, why)
	}
	return w.Flush()
}

// overload writes a line for each run: the question is whether each run kept its bounds.
func (r *Report) overload(w io.Writer) {
	fmt.Fprintln(w, "SYSTEM\tCLIENTS\tTASKS, ALL WITH RESULTS\tOF THEM LARGE\tTASKS/S\tp50 / p99, ms\tLAST RESULT AFTER, S\tREFUSED\tRETRY AFTER, ms\tRESENT\tPEAK RSS OF A SERVER, MB\tLEADER CHANGES")
	for _, s := range r.Systems {
		for _, run := range s.Runs {
			o := run.Overload
			if o == nil {
				continue
			}
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%s / %s\t%s\t%d\t%s to %s\t%d\t%s of %s: %s\t%d: %s\n", s.Name, o.Clients,
				int(run.TasksPerS*run.Seconds+.5), o.Large, num(run.TasksPerS), num(run.P50MS), num(run.P99MS), num(o.Drained.Seconds()),
				o.Refused, num(milliseconds(o.LeastDelay)), num(milliseconds(o.MostDelay)), o.Resent,
				num(float64(o.PeakRSS)/mega), num(float64(o.RSSBound)/mega), verdict(o.PeakRSS <= o.RSSBound),
				o.LeaderChanges, verdict(o.LeaderChanges == 0))
		}
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func ofText(of string) string {
	if of == "p50_ms" {
		return "p50, less is better"
	}
	return "tasks/s, more is better"
}

func latency(s *System) string {
	if s.P50MS == 0 {
		return "-"
	}
	return num(s.P50MS) + " / " + num(s.P99MS)
}

func optional(v *float64) string {
	if v == nil {
		return "-"
	}
	return num(*v)
}

func factor(once, written *stats.Spread) string {
	switch {
	case once == nil:
		return "-"
	case written == nil:
		return num(once.Median)
	}
	return num(once.Median) + ", of all written " + num(written.Median)
}

// cpu is the sum and its parts, the largest first.
func cpu(byRole map[string]float64) string {
	if len(byRole) == 0 {
		return "-"
	}
	roles := slices.SortedFunc(maps.Keys(byRole), func(a, b string) int {
		return cmp.Or(cmp.Compare(byRole[b], byRole[a]), cmp.Compare(a, b))
	})
	sum := 0.0
	var parts []string
	for _, role := range roles {
		sum += byRole[role]
		parts = append(parts, role+" "+num(byRole[role]))
	}
	return num(sum) + " (" + strings.Join(parts, ", ") + ")"
}

func duplicates(runs []Run) int {
	n := 0
	for _, r := range runs {
		n += r.Duplicates
	}
	return n
}

// num writes a number with three significant digits and commas between thousands.
func num(v float64) string {
	v = stats.Round(v, 3)
	text := strconv.FormatFloat(v, 'f', -1, 64)
	whole, fraction, _ := strings.Cut(text, ".")
	if fraction != "" {
		fraction = "." + fraction
	}
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	return whole + fraction
}
