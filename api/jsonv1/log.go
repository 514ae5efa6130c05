package jsonv1

import (
	"encoding/base64"
	"time"
	"unicode/utf8"
)

// Log is a line that a command has printed, or something that happened to its task: what job logs prints.
type Log struct {
	Job uint64 `json:"job"`
	// Task is its index in the job, from 0 on.
	Task uint32 `json:"task"`
	// Attempt counts from 1; 0: there is none yet.
	Attempt uint32 `json:"attempt"`
	// Token is its fencing token; 0: there is none yet.
	Token uint64 `json:"token"`
	// Worker is the name of its worker, the id if it has no name; "": there is none yet.
	Worker string `json:"worker"`
	// Stream is stdout or stderr; omitted if this is no line.
	Stream string `json:"stream,omitempty"`
	// ReadAt is when the worker has read its first byte, by the worker's clock; null if that is not known.
	ReadAt *time.Time `json:"read_at"`
	// Text is the line without its end; "" if it is not UTF-8.
	Text string `json:"text"`
	// TextBase64 is the line in base64; omitted if it is UTF-8.
	TextBase64 string `json:"text_base64,omitempty"`
	// Partial: the line has no end yet, or is longer than 64 KiB. The next one of the stream goes on with it; omitted if false.
	Partial bool `json:"partial,omitempty"`
	// Missing is how many bytes of the stream stood before the line and are not kept; omitted if it is 0.
	Missing uint64 `json:"missing,omitempty"`
	// Event is waiting (the task has not started), silent (the worker sends no log) or ended (the attempt has ended);
	// omitted if this is a line.
	Event string `json:"event,omitempty"`
	// Note says more about an event, in words for people; omitted if there is nothing to say.
	Note string `json:"note,omitempty"`
	// Ended is how the attempt has ended; omitted unless the event says so.
	Ended *TaskAttempt `json:"ended,omitempty"`
}

// SetText sets Text or TextBase64.
func (l *Log) SetText(line []byte) {
	l.Text, l.TextBase64 = "", ""
	if utf8.Valid(line) {
		l.Text = string(line)
	} else {
		l.TextBase64 = base64.StdEncoding.EncodeToString(line)
	}
}
