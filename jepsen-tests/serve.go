package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rota-scheduler/rota/jepsen-tests/checker"
)

func serveVerb(ctx context.Context, args []string, out io.Writer) (checker.Verdict, error) {
	s := flag.NewFlagSet("serve", flag.ContinueOnError)
	store := s.String("store", "store", "folder of all runs")
	addr := s.String("addr", "127.0.0.1:8080", "address to serve on")
	if err := s.Parse(args); err != nil {
		return "", errors.Join(err, errUsage)
	}
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(out, "http://%s shows %s until you press ^C\n", l.Addr(), *store)
	server := &http.Server{Handler: storePages(*store), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return "", err
	}
	return checker.Valid, nil
}

// storePages shows a list of all runs, and their files.
func storePages(store string) http.Handler {
	files := http.FileServer(http.Dir(store))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			files.ServeHTTP(w, r)
			return
		}
		runs, err := storedRuns(store)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		// Whoever went away meanwhile misses nothing.
		_ = storePage.Execute(w, runs)
	})
}

// storedRun is a run in the store.
type storedRun struct {
	Name   string
	Report checker.Report
}

// storedRuns is all runs, newest first. One without results was broken off.
func storedRuns(store string) ([]storedRun, error) {
	paths, err := filepath.Glob(filepath.Join(store, "*", "history.jsonl"))
	if err != nil {
		return nil, err
	}
	var runs []storedRun
	for _, path := range slices.Backward(paths) {
		run := storedRun{Name: filepath.Base(filepath.Dir(path))}
		run.Report.Verdict = "broken off"
		data, err := os.ReadFile(filepath.Join(filepath.Dir(path), "results.json"))
		if err == nil {
			err = json.Unmarshal(data, &run.Report)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("results of %s: %w", run.Name, err)
		}
		runs = append(runs, run)
	}
	return runs, nil
}

var storePage = template.Must(template.New("store").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>chaos runs</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1120px; padding: 0 1em; color: #222; background: #fff }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .25em .8em .25em 0; border-bottom: 1px solid #ddd } .n { text-align: right }
.valid { color: #17692b } .invalid { color: #b3261e; font-weight: bold } .unknown { color: #9a5b00 }
</style>
<h1>{{len .}} runs</h1>
<table><tr><th>run<th>verdict<th class="n">acknowledged<th class="n">unknown<th class="n">leader changes<th class="n">faults<th>files</tr>
{{range .}}<tr><td><a href="{{.Name}}/report.html">{{.Name}}</a><td class="{{.Report.Verdict}}">{{.Report.Verdict}}
{{- with .Report.Counts}}<td class="n">{{.Acks}}<td class="n">{{.Infos}}<td class="n">{{.Leaders}}<td class="n">{{.Effective}} of {{.Faults}}{{end}}<td><a href="{{.Name}}/">folder</a></tr>
{{end}}</table>
</html>
`))
