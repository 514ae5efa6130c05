package task

import "encoding/binary"

// A packed blob is a run of byte strings, each as its length (unsigned varint)
// and its bytes. Payloads and results travel and are stored in this form: a
// message for each of a thousand tasks costs more than the tasks.

// PackAppend appends v to the packed blob b.
func PackAppend(b, v []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

// PackNext splits the first string from a packed blob. ok is false if the blob
// is empty or malformed.
func PackNext(b []byte) (v, rest []byte, ok bool) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return nil, nil, false
	}
	end := k + int(n)
	return b[k:end:end], b[end:], true
}

// PackCheck says whether b holds exactly count strings of at most limit bytes each.
func PackCheck(b []byte, count, limit int) error {
	for i := range count {
		v, rest, ok := PackNext(b)
		if !ok {
			return Errorf(KindInvalid, "packed payloads: string %d of %d is cut short", i, count)
		}
		if len(v) > limit {
			return Errorf(KindTooLarge, "payload of task %d has %d bytes, the limit is %d; put larger data where tasks can read it", i, len(v), limit)
		}
		b = rest
	}
	if len(b) > 0 {
		return Errorf(KindInvalid, "packed payloads: %d bytes left over behind %d strings", len(b), count)
	}
	return nil
}

// PackSkip returns b without its first n strings. ok is false if there are fewer.
func PackSkip(b []byte, n int) (rest []byte, ok bool) {
	for range n {
		if _, b, ok = PackNext(b); !ok {
			return nil, false
		}
	}
	return b, true
}
