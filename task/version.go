package task

// released is the newest version of the log that releases know:
//
//	1  the first one
//	2  attempts that do not end their tasks leave records
//	3  the version is a part of the state and rises by itself; when a finished job may be forgotten
//	   is noted at its end
//	4  access tokens; tasks that are cancelled while they run keep what they have printed; more of each standard
//	   error is kept; a cluster may be a later incarnation of another one; servers can be removed, and do not come
//	   back
const released = 4

// Version is the newest version of the log that this build knows. A build with the tag rotanext knows one
// more, for the test of two builds: see later_next.go.
const Version = released + laterVersions

// releasedRules is the rules of versions that do not have the first ones, the oldest first.
var releasedRules = func() []since {
	four := firstRules
	four.MaxStderrTail = MaxStderrTail
	return []since{{4, four}}
}()

// Needs is the first version that has all that the spec asks for.
func (s *Spec) Needs() uint32 { return max(1, s.laterNeeds()) }
