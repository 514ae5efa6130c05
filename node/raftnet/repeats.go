package raftnet

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
	"unicode"
)

const (
	// repeatPause is how often raft may say the same thing.
	repeatPause = time.Minute
	// maxRepeats bounds what is remembered as said. If raft says that many different things within a pause, none is
	// held back.
	maxRepeats = 256
)

// repeats holds back what raft says over and over: it tries several times a second to reach a
// server that is away, or to be elected, and says so each time. What it says for the first
// time, or of another server, or with another error, is never held back; the rest is in the
// log at level Debug, and counted.
type repeats struct {
	mu   sync.Mutex
	said map[string]*said
}

// said is when raft has said something, and how often since.
type said struct {
	at    time.Time
	again int
}

func newRepeats() *repeats { return &repeats{said: map[string]*said{}} }

// seen notes a message. again is true if raft has said the same within a pause. Otherwise count is how often raft
// has repeated it since it was last not held back.
func (r *repeats) seen(msg string, args []any) (again bool, count int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key, now := repeatKey(msg, args), time.Now()
	if s := r.said[key]; s != nil {
		if now.Sub(s.at) < repeatPause {
			s.again++
			return true, 0
		}
		count = s.again
		*s = said{at: now}
		return false, count
	}
	if len(r.said) >= maxRepeats {
		for k, s := range r.said {
			if now.Sub(s.at) >= repeatPause {
				delete(r.said, k)
			}
		}
	}
	if len(r.said) < maxRepeats {
		r.said[key] = &said{at: now}
	}
	return false, 0
}

// repeatKey is what equal messages have in common: their words, the server that they are about, and the error
// without numbers, which are ports, times and indexes.
func repeatKey(msg string, args []any) string {
	key := msg
	for i := 0; i+1 < len(args); i += 2 {
		switch args[i] {
		case "peer", "server-id", "target", "from", "candidate":
			key += fmt.Sprintf(" %v", args[i+1])
		case "error":
			key += " " + strings.Map(func(c rune) rune {
				if unicode.IsDigit(c) {
					return -1
				}
				return c
			}, fmt.Sprint(args[i+1]))
		}
	}
	return key
}

// toldOtherwise says that the log says the same in other words: a server that does not answer has lines of its own
// (unreachableLog).
func toldOtherwise(msg string, args []any) bool {
	switch msg {
	case "failed to heartbeat to", "failed to contact":
		return true
	case "failed to appendEntries to", "failed to pipeline appendEntries", "failed to start pipeline replication to":
		for i := 0; i+1 < len(args); i += 2 {
			if err, ok := args[i+1].(error); ok && args[i] == "error" {
				return noAnswer(err)
			}
		}
	}
	return false
}

// noAnswer says that an error means that no answer came, and is not an answer itself.
func noAnswer(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, errReturned) || errors.Is(err, errNotWanted) ||
		// Raft's decoder hides the error of the connection.
		strings.HasPrefix(err.Error(), "msgpack decode error")
}
