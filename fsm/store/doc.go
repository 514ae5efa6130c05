// Package store keeps the replicated state on disk and reads it back.
//
// # Purpose
//
// The log is what makes an acknowledged change durable; state.db (bbolt) is what
// lets a server start without replaying the whole log, and where everything final
// lives once it has left memory. It is written behind: a crash loses what was not
// yet flushed, and raft applies that again.
//
// # Flow
//
// The Flusher takes a fsm.FlushBatch every 100 ms, or sooner when a few MiB wait, and
// writes it with the applied index in ONE synced transaction (flush.go). The file
// is therefore always a consistent prefix of history at its own applied index.
// Only after the commit does the machine forget what the batch held.
//
// A State is a machine and its file. Readers ask the machine first and then open a
// transaction on the file: what memory has forgotten is on disk by then. No
// transaction is kept open while anything is sent over a network, and none asks the
// machine: see fsm/lockorder.go.
//
// # Layout
//
//	meta      "meta"                 fsm Meta and whose file it is
//	jobs      job                    JobRecord
//	open      job                    nothing; the jobs to load at start
//	specs     SHA-256                Spec, where it is large; jobs share it
//	specrefs  SHA-256                how many jobs have it
//	appends   job, first index       count and hash of the tasks appended there
//	attempts  job, attempt, first    attempts of neighbours that ended alike, and not their tasks
//	payloads  job, first index       packed payloads of up to 256 tasks
//	live      job, page              slots of tasks under way
//	results   job, first cursor      Segments, in order of completion
//	index     job, page              cursor + 1 of each of 256 tasks
//	keys      queue 0 key            KeyRecord
//	due       time, job              when a finished job may be forgotten
//	leaving   job                    nothing; forgotten jobs of which something is left (leaving.go)
//	keydue    time, queue 0 key      when a request key may be
//	sessions  session                Session
//
// Every value ends with a CRC-32C over its key and itself, checked at every read:
// a flipped bit stops the server, it is never served. When the file is opened, and
// when one is received, all keys are walked first (verify.go), and what was loaded is
// checked against itself. How bbolt's pages hang together has no checksum: damage
// there ends the process, or in rare cases hides what is no longer in memory.
//
// # Snapshots
//
// A snapshot is metadata only (snapshots.go): index, term and configuration, and the
// promise that state.db has reached them. When a follower needs one, the live file
// is streamed in one read transaction, at whatever later index it has by then. The
// follower writes what comes as the file that it will be, checks it, and renames it into
// the place of its own.
package store
