package wire

import rotav1 "github.com/rota-scheduler/rota/api/rota/v1"

const (
	// MaxLogData is how much of a log one message has at most, bytes.
	MaxLogData = 64 << 10
	// MaxLogTail is how many lines of a log one may ask for at most: to find where they begin, a worker reads the log.
	MaxLogTail = 10_000
	// logDataHead is about how much a message of a log takes beside its bytes. It counts, or a worker could send
	// messages without bytes for ever.
	logDataHead = 64
)

// LogCost is how much credit a message of a log costs, bytes. Both ends count it alike.
func LogCost(m *rotav1.LogData) int { return logDataHead + len(m.GetData()) }
