package main

import (
	"io"
	"log/slog"

	"github.com/spf13/pflag"

	"github.com/rota-scheduler/rota/internal/requestid"
)

// logFlags are the flags of processes that log.
type logFlags struct{ level, format string }

func (l *logFlags) add(f *pflag.FlagSet) {
	f.StringVar(&l.level, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&l.format, "log-format", "text", "text or json")
}

// logger returns a logger that writes to w.
func (l *logFlags) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.level)); err != nil {
		return nil, usagef("unknown --log-level %q: use debug, info, warn or error", l.level)
	}
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: requestid.Hide}
	switch l.format {
	case "text":
		return slog.New(requestid.Handler(slog.NewTextHandler(w, opts))), nil
	case "json":
		return slog.New(requestid.Handler(slog.NewJSONHandler(w, opts))), nil
	default:
		return nil, usagef("unknown --log-format %q: use text or json", l.format)
	}
}
