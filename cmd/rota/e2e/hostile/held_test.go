package hostile

import (
	"testing"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
)

// Dozens of workers send reports of many groups and read no answer. Each message of 300 KB once took 20 MB until
// the server had answered it, and its answer took 3 MB until the worker read it.
func TestReportsThatManyWorkersHaveUnansweredAreBounded(t *testing.T) {
	t.Parallel()
	h := start(t)
	const sessions, groups, messages = 50, 30_000, 2
	r := &rotav1.Reports{Seq: 1}
	for i := range uint64(groups) {
		r.Groups = append(r.Groups, reportOf(1<<40+i, 0, tasks(0, 1)))
	}
	var lines []*line
	for range sessions {
		lines = append(lines, h.attach(helloOf()))
	}
	var senders flood
	for _, l := range lines {
		senders.send(messages, func() error { return l.say(r) })
	}
	h.Withstands(&senders)
}
