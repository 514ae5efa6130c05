package checker

import (
	"fmt"
	"slices"
	"strings"
)

// vacuity is the check of the checks: what did not happen was not tested.
func vacuity(v *view, results []Result, c Counts) Result {
	r := Result{Name: "vacuity", About: "enough happened", Verdict: Valid, Compared: 1}
	var short []string
	for _, n := range []struct {
		what      string
		got, need int
	}{
		{"acknowledged calls", c.Acks, v.setup.Needs.Acks},
		{"leader changes", c.Leaders, v.setup.Needs.Leaders},
		{"faults with an effect", c.Effective, v.setup.Needs.Faults},
	} {
		if n.got < n.need {
			short = append(short, fmt.Sprintf("%d %s, at least %d are needed", n.got, n.what, n.need))
		}
	}
	for _, name := range v.setup.Needs.Checked {
		at := slices.IndexFunc(results, func(r Result) bool { return r.Name == name })
		if at < 0 || results[at].Compared == 0 {
			short = append(short, "nothing to check for "+name)
		}
	}
	if slices.Contains(v.setup.Needs.Checked, "S4") && c.Fenced == 0 {
		short = append(short, "no report of a fenced attempt was refused")
	}
	if len(short) > 0 {
		r.Verdict, r.Note = Unknown, strings.Join(short, "; ")
	}
	return r
}
