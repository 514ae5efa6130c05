package task

// EventKind is what an event is about: something that happened in the cluster, for those who follow it.
type EventKind uint8

// The kinds of events. The numbers are those of the protocol, and the names those of JSON: neither changes.
const (
	// EventSubmitted: jobs were submitted. Jobs with consecutive ids may be one event.
	EventSubmitted EventKind = 1
	// EventCancelling: somebody, or the expiry of a job, asked for the end of a job, or of one task.
	EventCancelling EventKind = 2
	// EventEnded: all tasks of jobs have ended.
	EventEnded EventKind = 3
	// EventSessionOpened and EventSessionClosed: a worker has come; it has gone, or was lost.
	EventSessionOpened EventKind = 4
	EventSessionClosed EventKind = 5
	// EventServerRecorded: a server has come, or is elsewhere. EventServerForgotten: it is no part of the cluster any more.
	EventServerRecorded  EventKind = 6
	EventServerForgotten EventKind = 7
	// EventVersion: the version of the log has risen.
	EventVersion EventKind = 8
	// EventMore: one entry of the log had more events than are kept.
	EventMore EventKind = 9
	// EventLost: the server does not have the events up to here any more, or has never had them.
	EventLost EventKind = 10

	numEventKinds = 11
)

var eventNames = [numEventKinds]string{
	"unknown", "job.submitted", "job.cancelling", "job.ended", "session.opened", "session.closed", "server.recorded", "server.forgotten", "version.raised",
	"more", "lost",
}

// String returns the kind's name, as in JSON and tables.
func (k EventKind) String() string {
	if k < numEventKinds {
		return eventNames[k]
	}
	return eventNames[0]
}

// ParseEventKind is the inverse of String.
func ParseEventKind(name string) (EventKind, bool) {
	for k := EventSubmitted; k < numEventKinds; k++ {
		if eventNames[k] == name {
			return k, true
		}
	}
	return 0, false
}

// EventKinds returns the names of all kinds that can be asked for, in the order of their numbers.
func EventKinds() []string { return append([]string(nil), eventNames[EventSubmitted:EventMore]...) }
