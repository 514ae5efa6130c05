package transport

import (
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rota-scheduler/rota/internal/latency"
)

// numCodes bounds arrays that are indexed by a status code of gRPC.
const numCodes = codes.Unauthenticated + 1

// measures is what a server measures of the requests that it serves.
type measures struct {
	// submit is how long submits took from their arrival at the leader until their jobs were committed. result is how long reports took
	// from their arrival until they were recorded, for each task of them. run is how long attempts ran, as their workers say.
	submit, result, run latency.Histogram
	// calls is by method, as *callMeasure. gRPC calls handlers of registered methods only, so there are few.
	calls sync.Map
}

// callMeasure is what is measured of a method.
type callMeasure struct {
	codes [numCodes]atomic.Uint64
	// took is of unary calls only: a stream ends when its client wants.
	took latency.Histogram
}

// of returns what is measured of a method, by its full name.
func (m *measures) of(method string) *callMeasure {
	if c, ok := m.calls.Load(method); ok {
		return c.(*callMeasure)
	}
	c, _ := m.calls.LoadOrStore(method, &callMeasure{})
	return c.(*callMeasure)
}

// count counts the end of a call.
func (c *callMeasure) count(err error) {
	c.codes[min(status.Code(err), numCodes-1)].Add(1)
}

// Measures is what a server measures of the requests that it serves, for metrics. Counts begin with its start.
type Measures struct {
	// Submit is how long submits took from their arrival at this leader until their jobs were committed. Result is how long reports of
	// workers took from their arrival until they were recorded, for each task. Run is how long attempts ran.
	Submit, Result, Run latency.Reading
	// Refused is how many reported tasks were not recorded: late, or sent again.
	Refused int64
	// Calls is by method, as service/method, without the name of the package.
	Calls map[string]CallMeasures
}

// CallMeasures is what is measured of a method.
type CallMeasures struct {
	// Codes counts calls that have ended, by the name of their status code.
	Codes map[string]uint64
	// Took is how long unary calls took; nothing is counted of streams.
	Took latency.Reading
}

// Measure returns what the server measures of the requests that it serves.
func (s *Server) Measure() Measures {
	out := Measures{
		Submit: s.measures.submit.Read(), Result: s.measures.result.Read(), Run: s.measures.run.Read(),
		Refused: s.refused.Load(), Calls: map[string]CallMeasures{},
	}
	s.measures.calls.Range(func(method, measured any) bool {
		c := measured.(*callMeasure)
		one := CallMeasures{Codes: map[string]uint64{}, Took: c.took.ReadCoarse()}
		for code := range c.codes {
			if n := c.codes[code].Load(); n > 0 {
				one.Codes[codes.Code(code).String()] = n
			}
		}
		out.Calls[shortMethod(method.(string))] = one
		return true
	})
	return out
}

// shortMethod is a full method without the package of its service: JobService/Submit.
func shortMethod(full string) string {
	service, method, _ := strings.Cut(strings.TrimPrefix(full, "/"), "/")
	return service[strings.LastIndexByte(service, '.')+1:] + "/" + method
}
