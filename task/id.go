package task

import (
	"strconv"
	"strings"
)

// ID names one task: a job and an index in it.
type ID struct {
	Job   uint64
	Index uint32
}

// String returns the id as users write it: "42.7".
func (id ID) String() string {
	return strconv.FormatUint(id.Job, 10) + "." + strconv.FormatUint(uint64(id.Index), 10)
}

// ParseJobID parses a job id such as "42".
func ParseJobID(s string) (uint64, error) {
	id, err := strconv.ParseUint(s, 10, 64)
	if err != nil || id == 0 {
		return 0, Errorf(KindInvalid, "%q is not a job id: expected a number such as 42", s)
	}
	return id, nil
}

// ParseID parses a job id, or a task id such as "42.7"; isTask says which it was.
func ParseID(s string) (id ID, isTask bool, err error) {
	job, index, isTask := strings.Cut(s, ".")
	if id.Job, err = ParseJobID(job); err != nil {
		return ID{}, false, Errorf(KindInvalid, "%q is not a job or task id: expected 42 or 42.7", s)
	}
	if isTask {
		if id.Index, err = ParseIndex(index); err != nil {
			return ID{}, false, Errorf(KindInvalid, "%q is not a task id: expected a number behind the dot, such as 42.7", s)
		}
	}
	return id, isTask, nil
}

// ParseIndex parses the index of a task in its job.
func ParseIndex(s string) (uint32, error) {
	i, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, Errorf(KindInvalid, "%q is not the index of a task: expected a number", s)
	}
	return uint32(i), nil
}
