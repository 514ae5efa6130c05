package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"time"

	"github.com/rota-scheduler/rota/jepsen-tests/checker"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// data is what the page shows.
type data struct {
	Setup   history.Setup
	Report  checker.Report
	Command string
	Length  time.Duration
	Plot    *chart
	Faults  []band
	// Refused is how many reports of workers the servers refused.
	Refused int64
}

// Write writes the page.
func Write(to io.Writer, ops []history.Op, rep checker.Report, command string) error {
	if len(ops) == 0 {
		return fmt.Errorf("an empty history has no report")
	}
	setup, err := history.Decode[history.Setup](ops[0])
	if err != nil {
		return err
	}
	p, err := newChart(ops, setup)
	if err != nil {
		return err
	}
	refused, err := history.Noted[history.Refused](ops, history.FRefused)
	if err != nil {
		return err
	}
	var reports int64
	for _, r := range refused {
		reports += r.Value.Reports
	}
	return page.Execute(to, data{
		Setup: setup, Report: rep, Command: command, Plot: &p, Faults: p.Bands, Refused: reports,
		Length: time.Duration(ops[len(ops)-1].Time).Round(time.Millisecond),
	})
}
