package raftnet

import (
	"context"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// raftLogger lets raft log through slog. Raft calls it at Info for what an operator
// wants at Debug: elections and heartbeats on a healthy cluster are not news.
type raftLogger struct {
	hclog.Logger // a null logger, for what raft never calls
	log          *slog.Logger
	repeats      *repeats
	name         string
}

// NewLogger returns the logger that raft is given.
func NewLogger(l *slog.Logger) hclog.Logger {
	return &raftLogger{Logger: hclog.NewNullLogger(), log: l.With("part", "raft"), repeats: newRepeats()}
}

func (r *raftLogger) Log(level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	switch level {
	case hclog.Warn:
		to = slog.LevelInfo
	case hclog.Error:
		to = slog.LevelWarn
	}
	if to > slog.LevelDebug {
		switch again, count := r.repeats.seen(msg, args); {
		case again || toldOtherwise(msg, args):
			to = slog.LevelDebug
		case count > 0:
			args = append(args[:len(args):len(args)], "repeated", count)
		}
	}
	for i := range args {
		if f, ok := args[i].(hclog.Format); ok && len(f) > 0 {
			args[i] = f[1:]
		}
	}
	r.log.Log(context.Background(), to, msg, args...)
}

func (r *raftLogger) Trace(msg string, args ...any) { r.Log(hclog.Trace, msg, args...) }
func (r *raftLogger) Debug(msg string, args ...any) { r.Log(hclog.Debug, msg, args...) }
func (r *raftLogger) Info(msg string, args ...any)  { r.Log(hclog.Info, msg, args...) }
func (r *raftLogger) Warn(msg string, args ...any)  { r.Log(hclog.Warn, msg, args...) }
func (r *raftLogger) Error(msg string, args ...any) { r.Log(hclog.Error, msg, args...) }

func (r *raftLogger) With(args ...any) hclog.Logger {
	return &raftLogger{Logger: r.Logger, log: r.log.With(args...), repeats: r.repeats, name: r.name}
}
func (r *raftLogger) Named(name string) hclog.Logger {
	return &raftLogger{Logger: r.Logger, log: r.log.With("of", name), repeats: r.repeats, name: name}
}
func (r *raftLogger) ResetNamed(name string) hclog.Logger { return r.Named(name) }
func (r *raftLogger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return log.New(io.Discard, "", 0)
}
