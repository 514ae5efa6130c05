package web_test

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzRequests: whatever is asked for, the answer is one of a few, and there is no panic: the
// one that net/http catches would hide it.
func FuzzRequests(f *testing.F) {
	for _, line := range []string{
		"GET /livez HTTP/1.1", "GET /readyz HTTP/1.1", "GET /metrics HTTP/1.1", "HEAD /metrics HTTP/1.1", "POST /livez HTTP/1.1",
		"GET /../metrics?name[]=go_goroutines&name[]=%00 HTTP/1.0", "GET //readyz HTTP/1.1", "CONNECT example.com:1 HTTP/1.1", "OPTIONS * HTTP/1.1",
		"GET http://[::1]:x/livez HTTP/1.1",
	} {
		f.Add(line, "Host: a")
	}
	f.Add("GET /metrics HTTP/1.1", "Host: a\r\nAccept: application/openmetrics-text;version=\"1.0.0\";escaping=x;q=0.5\r\nAccept-Encoding: gzip, zstd")
	f.Add("GET /metrics HTTP/1.1", "Host: a\r\nAccept: application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited")
	s := newServer(follower(f))
	f.Fuzz(func(t *testing.T, line, header string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(line + "\r\n" + header + "\r\n\r\n")))
		if err != nil {
			return // net/http refuses it before this package sees it
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		require.Contains(t, []int{
			http.StatusOK, http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed,
		}, w.Code, "%s %s", r.Method, r.URL)
	})
}
