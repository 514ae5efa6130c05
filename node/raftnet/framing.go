package raftnet

import (
	"errors"
	"fmt"
	"math"
)

// Bounds of what may come on a connection of raft. They are checked before anything is decoded, because raft's
// decoder trusts every length on the wire.
const (
	// maxEntriesMessage is the largest message with entries, bytes: maxBatch of them, or a single
	// larger one. A submit has 4 MiB at most, but logs of older builds have entries of 8.
	maxEntriesMessage = 16 << 20
	// maxControlMessage is the largest message of any other kind, and the largest answer, bytes:
	// ids, addresses, and a configuration of all servers.
	maxControlMessage = 64 << 10
	// maxElements bounds each array and map: entries, and fields of a message.
	maxElements = MaxAppendEntries
	// maxNesting is how deep values may be nested: a message, its entries, an entry, and one more to spare.
	maxNesting = 4
	// maxField is the longest name of a field, bytes.
	maxField = 32
)

// Kinds of messages, as raft's transport numbers them.
const (
	kindAppendEntries byte = iota
	kindRequestVote
	kindInstallSnapshot
	kindTimeoutNow
	kindRequestPreVote
)

var errNoMessage = errors.New("this is no message of raft")

// framing follows the messages of a connection (MessagePack) while their bytes pass, and refuses the first byte that
// begins more than a message may hold.
//
// It passes bytes on as they come, and keeps only those of ids. When it has refused a byte, the decoder has not seen
// the length that was too large.
type framing struct {
	// answers says that these are answers, two values each, and no messages with a kind.
	answers bool
	// seen is told of each id and term that a message names as its own.
	seen fieldSeen

	inside bool
	kind   byte
	// begun counts messages, the one under way included.
	begun uint64
	// left is what is left of the message's bound, bytes.
	left int
	// open is how many values each open array or map still has, outermost first.
	open []int
	// head is the beginning of a value: its type, and its length or number.
	head []byte
	need int
	// text is how many bytes of a string are still to come; they are kept if that matters.
	text int64
	kept []byte
	keep bool
	// field is the field of the message whose value comes next; "": one that is not checked.
	field string
	// state is how many bytes of the state follow the message, and come; size is what it said.
	state, size int64
}

// fieldSeen is told of fields as they pass. An error refuses the message.
type fieldSeen struct {
	// id must not keep the bytes.
	id   func(id []byte) error
	term func(term uint64) error
}

// between says whether the next byte begins a message.
func (f *framing) between() bool { return !f.inside && f.state == 0 }

// feed follows bytes. After an error the connection is of no use any more.
func (f *framing) feed(p []byte) error {
	for len(p) > 0 {
		switch {
		case f.state > 0:
			n := min(f.state, int64(len(p)))
			f.state -= n
			p = p[n:]
		case !f.inside:
			rest, err := f.begin(p)
			if err != nil {
				return err
			}
			p = rest
		case f.text > 0:
			n := min(f.text, int64(len(p)))
			if f.keep {
				f.kept = append(f.kept, p[:n]...)
			}
			f.text -= n
			p = p[n:]
			if f.text == 0 {
				if err := f.endText(); err != nil {
					return err
				}
			}
		default:
			f.head = append(f.head, p[0])
			p = p[1:]
			if err := f.header(); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin begins a message, or a value of an answer.
func (f *framing) begin(p []byte) (rest []byte, err error) {
	f.inside, f.left, f.size = true, maxControlMessage, 0
	f.begun++
	if f.answers {
		return p, nil
	}
	f.kind = p[0]
	switch f.kind {
	case kindAppendEntries:
		f.left = maxEntriesMessage
	case kindRequestVote, kindInstallSnapshot, kindTimeoutNow, kindRequestPreVote:
	default:
		return nil, fmt.Errorf("%w: kind %d", errNoMessage, f.kind)
	}
	return p[1:], nil
}

// looked says whether the next value is that of a field that is checked here.
func (f *framing) looked() bool {
	return f.field != "" && len(f.open) == 1 && !f.atKey()
}

// atKey says whether the next value is the name of a field of the message.
func (f *framing) atKey() bool { return len(f.open) == 1 && f.open[0]%2 == 0 }

// header looks at what there is of a value's beginning, and at the value once that is whole.
func (f *framing) header() error {
	b := f.head[0]
	if len(f.head) == 1 {
		f.need = 1 + headerBytes(b)
		if f.left--; f.left < 0 {
			return f.tooLarge(1)
		}
	}
	if len(f.head) < f.need {
		return nil
	}
	number := uint64(0)
	for _, x := range f.head[1:] {
		number = number<<8 | uint64(x)
	}
	if f.left -= len(f.head) - 1; f.left < 0 {
		return f.tooLarge(uint64(f.need))
	}
	f.head = f.head[:0]
	return f.value(b, number)
}

// headerBytes is how many bytes follow the first one of a value, before its content: the number
// itself, or the length of what comes.
func headerBytes(b byte) int {
	switch b {
	case 0xc4, 0xc7, 0xcc, 0xd0, 0xd9:
		return 1
	case 0xc5, 0xc8, 0xcd, 0xd1, 0xda, 0xdc, 0xde:
		return 2
	case 0xc6, 0xc9, 0xca, 0xce, 0xd2, 0xdb, 0xdd, 0xdf:
		return 4
	case 0xcb, 0xcf, 0xd3:
		return 8
	}
	return 0
}

// value is called with the first byte of a value and the number behind it.
func (f *framing) value(b byte, number uint64) error {
	switch {
	case b <= 0x7f: // a small number
		return f.number(uint64(b))
	case b <= 0x8f: // a small map
		return f.container(uint64(b&0x0f), 2)
	case b <= 0x9f: // a small array
		return f.container(uint64(b&0x0f), 1)
	case b <= 0xbf: // a short string
		return f.beginText(uint64(b & 0x1f))
	}
	switch b {
	case 0xc0:
		return f.scalar() // nothing
	case 0xc2, 0xc3, 0xca, 0xcb:
		return f.other() // a truth value, a fraction
	case 0xc4, 0xc5, 0xc6, 0xd9, 0xda, 0xdb:
		return f.beginText(number)
	case 0xc7, 0xc8, 0xc9: // an extension: its type and its bytes
		return f.beginOther(number + 1)
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8:
		return f.beginOther(1<<(b-0xd4) + 1)
	case 0xcc, 0xcd, 0xce, 0xcf:
		return f.number(number)
	case 0xd0, 0xd1, 0xd2, 0xd3: // with a sign
		if number>>(8<<(b-0xd0)-1) != 0 {
			return f.other()
		}
		return f.number(number)
	case 0xdc, 0xdd:
		return f.container(number, 1)
	case 0xde, 0xdf:
		return f.container(number, 2)
	}
	if b >= 0xe0 {
		return f.other() // a small number below zero
	}
	return errNoMessage
}

// container opens an array or a map.
func (f *framing) container(elements, valuesEach uint64) error {
	switch {
	case len(f.open) == 0 && valuesEach == 1:
		// The decoder also accepts the fields of a message by their order, without names.
		return fmt.Errorf("%w: an array", errNoMessage)
	case f.atKey():
		return fmt.Errorf("%w: a field without a name", errNoMessage)
	case f.looked():
		return fmt.Errorf("%w: a %s of several values", errNoMessage, f.field)
	case elements > maxElements:
		return fmt.Errorf("a message of raft with %d elements in one place, %d are allowed", elements, maxElements)
	case len(f.open) == maxNesting:
		return fmt.Errorf("%w: values stand %d deep in each other", errNoMessage, maxNesting+1)
	}
	f.open = append(f.open, int(elements*valuesEach))
	return f.settle()
}

// beginText begins a string, whose bytes must fit into what is left of the message.
func (f *framing) beginText(length uint64) error {
	if length > uint64(f.left) {
		return f.tooLarge(length)
	}
	switch {
	case f.atKey():
		if length > maxField {
			return fmt.Errorf("%w: a field with a name of %d bytes", errNoMessage, length)
		}
		f.keep = true
	case len(f.open) == 1 && f.field == "ID":
		if length > maxRaftID {
			return fmt.Errorf("a raft id of %d bytes, %d are allowed", length, maxRaftID)
		}
		f.keep = true
	}
	f.left -= int(length)
	f.text, f.kept = int64(length), f.kept[:0]
	if length == 0 {
		return f.endText()
	}
	return nil
}

// fieldOf is the name of a field that is checked. It takes no memory: each message has a dozen.
func fieldOf(name []byte) string {
	switch string(name) {
	case "ID":
		return "ID"
	case "Term":
		return "Term"
	case "Size":
		return "Size"
	}
	return ""
}

// endText is called behind the last byte of a string.
func (f *framing) endText() error {
	kept := f.keep
	f.keep = false
	switch {
	case f.atKey():
		if !kept {
			return fmt.Errorf("%w: a field without a name", errNoMessage)
		}
		f.field = fieldOf(f.kept)
	case kept && f.seen.id != nil:
		if err := f.seen.id(f.kept); err != nil {
			return err
		}
	}
	return f.end()
}

// beginOther begins bytes that are neither the name of a field nor an id.
func (f *framing) beginOther(length uint64) error {
	switch {
	case f.atKey():
		return fmt.Errorf("%w: a field without a name", errNoMessage)
	case f.looked():
		return fmt.Errorf("%w: a %s of an unknown type", errNoMessage, f.field)
	case length > uint64(f.left):
		return f.tooLarge(length)
	}
	f.left -= int(length)
	f.text = int64(length)
	return nil
}

// number is called with a number that is not below zero.
func (f *framing) number(v uint64) error {
	switch {
	case f.atKey():
		return fmt.Errorf("%w: a field without a name", errNoMessage)
	case len(f.open) != 1:
	case f.field == "Term" && f.seen.term != nil:
		if err := f.seen.term(v); err != nil {
			return err
		}
	case f.field == "Size" && f.kind == kindInstallSnapshot && !f.answers:
		if v > math.MaxInt64 {
			return fmt.Errorf("%w: a state of %d bytes", errNoMessage, v)
		}
		f.size = int64(v)
	}
	return f.end()
}

// other is called with a value that is neither a number from zero on nor bytes.
func (f *framing) other() error {
	if f.looked() {
		return fmt.Errorf("%w: a %s that is no number, or below zero", errNoMessage, f.field)
	}
	return f.scalar()
}

func (f *framing) scalar() error {
	if f.atKey() {
		return fmt.Errorf("%w: a field without a name", errNoMessage)
	}
	return f.end()
}

// end is called behind each value that holds no others.
func (f *framing) end() error {
	if len(f.open) == 0 && !f.answers {
		return fmt.Errorf("%w: no fields", errNoMessage)
	}
	if n := len(f.open); n > 0 {
		f.open[n-1]--
	}
	return f.settle()
}

// settle closes what has all its values. Behind the outermost one the message ends.
func (f *framing) settle() error {
	for n := len(f.open); n > 0 && f.open[n-1] == 0; n = len(f.open) {
		f.open = f.open[:n-1]
		if n > 1 {
			f.open[n-2]--
		}
	}
	if len(f.open) == 0 {
		f.inside, f.field, f.state = false, "", f.size
	}
	return nil
}

func (f *framing) tooLarge(bytes uint64) error {
	most := maxControlMessage
	if f.kind == kindAppendEntries && !f.answers {
		most = maxEntriesMessage
	}
	return fmt.Errorf("a message of raft is larger than %d bytes: %d more in one place", most, bytes)
}
