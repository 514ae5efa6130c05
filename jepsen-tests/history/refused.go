package history

// FRefused is how many reports of workers the servers refused in the whole run: Refused. A
// note of the harness.
const FRefused F = "refused"

// Refused counts reports that came late, under an old token, or a second time.
type Refused struct {
	Reports int64 `json:"reports"`
}
