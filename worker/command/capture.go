//go:build linux

package command

import (
	"errors"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/rota-scheduler/rota/task"
)

const (
	// keptEnd is how much of a standard output that is too large is kept of its beginning, and as
	// much of its end, bytes.
	keptEnd = task.MaxPayload / 2
	// maxCapture is the largest buffer of a standard output, bytes. Beyond what is kept it has room
	// for one more end, so that what is read is moved once for each time that it is filled.
	maxCapture = task.MaxPayload + keptEnd
)

// capture is what is kept of a command's standard output. While that is no more than
// task.MaxPayload, it stands in b as it was read; then b is the beginning and the end.
type capture struct {
	b []byte
	// missing is how many bytes are not there, between the first head bytes of b and the others.
	missing uint64
	head    int
	// log gets what is read, too; nil: nobody does.
	log Log
}

// room returns where to read to next: readSize at least.
func (c *capture) room() []byte {
	if cap(c.b)-len(c.b) < readSize {
		if size := max(readSize, 2*cap(c.b)); size <= maxCapture {
			c.grow(size)
		} else if cap(c.b) < maxCapture {
			c.grow(maxCapture)
		} else {
			c.shorten()
		}
	}
	return c.b[len(c.b):cap(c.b)]
}

func (c *capture) grow(size int) { c.b = append(make([]byte, 0, size), c.b...) }

// add takes n bytes that were read to room.
func (c *capture) add(n int) {
	begin := len(c.b)
	c.b = c.b[:begin+n]
	if c.log != nil {
		c.log.Stdout(c.b[begin:])
	}
}

// tooLarge says whether there was more than is kept of any output.
func (c *capture) tooLarge() bool { return c.missing > 0 || len(c.b) > task.MaxPayload }

// shorten takes out what lies between the ends.
func (c *capture) shorten() {
	if extra := len(c.b) - task.MaxPayload; extra > 0 {
		c.cut(keptEnd, keptEnd+extra)
	}
}

// cut takes b[from:to] out.
func (c *capture) cut(from, to int) {
	c.missing += uint64(to - from)
	c.head = from
	c.b = append(c.b[:from], c.b[to:]...)
}

// finish brings the output down to what is kept. Where it is text, no character is cut in two.
func (c *capture) finish() {
	c.shorten()
	if c.missing == 0 {
		return
	}
	from := c.head - brokenRune(c.b[:c.head])
	c.cut(from, c.head+partialRune(c.b[c.head:]))
}

// drain takes what stands in a pipe, and says whether that was all. A process that has left the
// command's group may hold the pipe open, or write on and on: enough is what a pipe holds.
func (c *capture) drain(fd int) (ended bool) {
	for begin := len(c.b); len(c.b)-begin <= pipeSize; {
		n, err := unix.Read(fd, c.room())
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return !errors.Is(err, unix.EAGAIN)
		case n == 0:
			return true
		default:
			c.add(n)
		}
	}
	return false
}

// brokenRune is how many bytes at the end of a text that was cut belong to a character that is not
// there whole.
func brokenRune(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if last := b[len(b)-n:]; utf8.RuneStart(last[0]) {
			if utf8.FullRune(last) {
				return 0
			}
			return n
		}
	}
	return 0
}
