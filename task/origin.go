package task

// The tasks of a job differ in their values, in how their payloads begin and, in a retry, in the indexes that they had
// before.

// MaxInput is how much of a task's payload is shown to people, bytes.
const MaxInput = 128

// ValueAt returns the value of task i.
func (s *Spec) ValueAt(i uint32) uint32 {
	begin := uint32(0)
	for _, r := range s.Values {
		if i < begin+r.Count {
			return r.First + (i-begin)*r.Step
		}
		begin += r.Count
	}
	return i
}

// RetriedAt returns the index that task i had in the job that its job retries; ok is false if that is not known.
func (s *Spec) RetriedAt(i uint32) (index uint32, ok bool) {
	begin := uint32(0)
	for _, r := range s.Retried {
		if i < begin+r.Count {
			return r.First + i - begin, true
		}
		begin += r.Count
	}
	return 0, false
}

// Input returns the part of a payload that is shown, and whether the payload has more. The part shares its memory.
func Input(payload []byte) (input []byte, more bool) {
	if len(payload) > MaxInput {
		return payload[:MaxInput:MaxInput], true
	}
	return payload, false
}
