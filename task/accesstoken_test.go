package task_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

func TestPatternsOfQueues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		patterns []string
		queue    string
		want     bool
	}{
		{nil, "any", true},
		{[]string{"a"}, "a", true},
		{[]string{"a"}, "ab", false},
		{[]string{"a*"}, "ab", true},
		{[]string{"a*"}, "a", true},
		{[]string{"a*"}, "b", false},
		{[]string{"*"}, "b", true},
		{[]string{"x", "team-a-*"}, "team-a-1", true},
		{[]string{"x", "team-a-*"}, "team-a", false},
	} {
		require.Equal(t, c.want, task.MatchesQueue(c.patterns, c.queue), "%v %s", c.patterns, c.queue)
	}
}

func TestATokenThatMakesNoSenseIsRefused(t *testing.T) {
	t.Parallel()
	good := task.AccessToken{Name: "ci", Role: task.RoleSubmit, Queues: []string{"team-a-*", "b"}, TTL: time.Hour, Rate: 10}
	require.NoError(t, good.Validate())
	many := make([]string, task.MaxQueuePatterns+1)
	for i := range many {
		many[i] = fmt.Sprint("q", i)
	}
	for name, change := range map[string]func(*task.AccessToken){
		"no name":        func(a *task.AccessToken) { a.Name = "" },
		"long name":      func(a *task.AccessToken) { a.Name = strings.Repeat("n", task.MaxName+1) },
		"no role":        func(a *task.AccessToken) { a.Role = "" },
		"server":         func(a *task.AccessToken) { a.Role = task.RoleServer },
		"limited admin":  func(a *task.AccessToken) { a.Role = task.RoleAdmin },
		"star in middle": func(a *task.AccessToken) { a.Queues = []string{"a*b"} },
		"two stars":      func(a *task.AccessToken) { a.Queues = []string{"a**"} },
		"empty queue":    func(a *task.AccessToken) { a.Queues = []string{""} },
		"twice":          func(a *task.AccessToken) { a.Queues = []string{"a", "a"} },
		"too many":       func(a *task.AccessToken) { a.Queues = many },
		"past":           func(a *task.AccessToken) { a.TTL = -1 },
		"too long":       func(a *task.AccessToken) { a.TTL = task.MaxAccessTTL + 1 },
		"rate":           func(a *task.AccessToken) { a.Rate = task.MaxAccessRate + 1 },
	} {
		bad := good
		change(&bad)
		require.Error(t, bad.Validate(), name)
	}
}
