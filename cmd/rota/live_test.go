package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/client"
)

// The rest of a result is what its log had not yet brought.
func TestWhatWasPrintedIsTakenOffAResult(t *testing.T) {
	t.Parallel()
	ended := func(out, stderr uint64) *live {
		l := &live{s: &screen{}, job: nil, stop: func() {}, done: make(chan struct{}), token: 9, out: out, stderr: stderr}
		close(l.done)
		return l
	}
	for name, c := range map[string]struct {
		out, stderr uint64
		r           client.Result
		output, err string
		missing     uint64
		head        int
	}{
		"a part":           {2, 1, client.Result{Output: []byte("abcd"), Stderr: []byte("xyz")}, "cd", "yz", 0, 0},
		"all":              {4, 3, client.Result{Output: []byte("abcd"), Stderr: []byte("xyz")}, "", "", 0, 0},
		"only one stream":  {0, 3, client.Result{Output: []byte("abcd"), Stderr: []byte("xyz")}, "abcd", "", 0, 0},
		"before the gap":   {1, 0, client.Result{Output: []byte("abcd"), OutputMissing: 10, OutputHead: 2}, "bcd", "", 10, 1},
		"within the gap":   {5, 0, client.Result{Output: []byte("abcd"), OutputMissing: 10, OutputHead: 2}, "cd", "", 7, 0},
		"behind the gap":   {13, 0, client.Result{Output: []byte("abcd"), OutputMissing: 10, OutputHead: 2}, "d", "", 0, 0},
		"all with a gap":   {14, 0, client.Result{Output: []byte("abcd"), OutputMissing: 10, OutputHead: 2}, "", "", 0, 0},
		"stderr was cut":   {1, 7, client.Result{Output: []byte("a"), Stderr: []byte("xyz"), StderrMissing: 5}, "", "z", 0, 0},
		"more than stderr": {1, 2, client.Result{Output: []byte("a"), Stderr: []byte("xyz"), StderrMissing: 5}, "", "xyz", 0, 0},
	} {
		c.r.Token = 9
		ended(c.out, c.stderr).end(&c.r)
		require.Equal(t, c.output, string(c.r.Output), name)
		require.Equal(t, c.err, string(c.r.Stderr), name)
		require.Equal(t, c.missing, c.r.OutputMissing, name)
		require.Equal(t, c.head, c.r.OutputHead, name)
	}
}
