package fsm

import (
	"hash/crc32"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// The digest of a state is a sum over its records, so that it follows each change
// at the cost of that change. Equal states have equal digests; it is meant to
// find divergence by fault, not by malice.

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// hashNone is hashBytes of nothing, which most results are.
var hashNone = task.Mix(0, 0)

// hashBytes is a quick hash of bytes, the same on every machine.
func hashBytes(b []byte) uint64 {
	if len(b) == 0 {
		return hashNone
	}
	return task.Mix(uint64(len(b)), uint64(crc32.Checksum(b, castagnoli)))
}

// hash is the digest of a touched task that is not final.
func (s *slot) hash(i uint32) uint64 {
	h := task.MixWord(task.MixWord(task.MixSeed, uint64(i)), s.token)
	h = task.MixWord(task.MixWord(h, uint64(s.at)), s.session)
	return task.MixWord(h, uint64(s.attempt)<<32|uint64(s.failures)<<24|uint64(s.lost)<<16|uint64(s.state)<<8|uint64(s.reason))
}

// finalHash is the digest of a task with an outcome.
func finalHash(i uint32, s *slot, output uint64) uint64 {
	h := task.MixWord(task.MixWord(task.MixSeed, uint64(i)), s.token)
	h = task.MixWord(task.MixWord(h, uint64(s.at)), output)
	return task.MixWord(h, uint64(s.attempt)<<16|uint64(s.state)<<8|uint64(s.reason))
}

// rangeHash is the digest of untouched tasks that were ended together.
func rangeHash(r task.Range, cursor uint32, to task.State, reason task.Reason) uint64 {
	return task.Mix(uint64(r.First), uint64(r.End()), uint64(cursor), uint64(to)<<8|uint64(reason))
}

// hash is the digest of a job with its tasks.
func (j *job) hash() uint64 {
	return jobHash(j.record())
}

func jobHash(r jobHeader) uint64 {
	flags := uint64(0)
	if r.open {
		flags |= 1
	}
	if r.hold {
		flags |= 2
	}
	d := task.Mix(r.id, r.specHash, r.sum, uint64(r.total)<<32|uint64(r.received), uint64(r.submitted), uint64(r.started),
		uint64(r.finished), uint64(r.notBefore), uint64(r.expireAt), uint64(r.lastAppend), r.retryOf,
		flags<<16|uint64(r.cancelReason)<<8|uint64(r.reason))
	if r.sweep != 0 {
		d = task.Mix(d, uint64(r.sweep))
	}
	if r.attempts != 0 {
		d = task.Mix(d, r.attempts, 0)
	}
	if r.due != 0 {
		d = task.Mix(d, uint64(r.due), 0, 0)
	}
	if r.base != 0 {
		d = task.Mix(d, uint64(r.base), 0, 0, 0)
	}
	return d
}

// jobHeader is what a job's digest is made of, from memory or from its record.
type jobHeader struct {
	id, specHash, sum               uint64
	total, received, sweep          uint32
	submitted, started, finished    int64
	notBefore, expireAt, lastAppend int64
	due                             int64
	retryOf, attempts               uint64
	open, hold                      bool
	cancelReason, reason            task.Reason
	base                            task.State // 0: the usual one
}

func (j *job) record() jobHeader {
	return jobHeader{
		id: j.id, specHash: j.spec.sum, sum: j.sum, total: j.total, received: j.received, sweep: j.sweep, submitted: j.submitted,
		started: j.started, finished: j.finished, notBefore: j.notBefore, expireAt: j.expireAt, lastAppend: j.lastAppend,
		retryOf: j.retryOf, attempts: j.attemptsSum(), due: j.forgetAt, open: j.open, hold: j.hold, cancelReason: j.cancelReason, reason: j.reason, base: j.unusualBase(),
	}
}

// recordHash is jobHash of a job that has left memory.
func recordHash(r *logpb.JobRecord) uint64 {
	specHash := r.SpecSum
	if len(r.SpecId) == 0 {
		specHash = hashBytes(r.Spec)
	}
	return jobHash(jobHeader{
		id: r.Id, specHash: specHash, sum: r.Sum, total: r.Total, received: r.Received, sweep: r.Sweep, submitted: r.SubmittedNs,
		started: r.StartedNs, finished: r.FinishedNs, notBefore: r.NotBeforeNs, expireAt: r.ExpireAtNs, lastAppend: r.LastAppendNs,
		retryOf: r.RetryOf, attempts: r.AttemptsSum, due: r.DueNs, open: r.Open, hold: r.Hold, cancelReason: task.Reason(r.CancelReason), reason: task.Reason(r.Reason), base: task.State(r.BaseState),
	})
}

func keyHashOf(queue, key string, job uint64, expires int64) uint64 {
	return task.Mix(hashBytes([]byte(keyID(queue, key))), job, uint64(expires))
}

func sessionHash(s *logpb.Session) uint64 {
	return task.Mix(s.Id, hashBytes([]byte(s.Worker)), hashBytes(s.Nonce), uint64(s.Slots), uint64(s.OpenedNs))
}

// digest is that of the whole state.
func (m *Machine) digest() uint64 {
	d := task.Mix(m.jobsSum, m.sessionsSum, m.keysSum, m.nextJob, m.nextToken, m.nextSession, uint64(m.clock), hashBytes([]byte(m.clusterID)))
	if h := serversHash(m.servers); h != 0 {
		d = task.Mix(d, h)
	}
	if m.accessSum != 0 {
		d = task.Mix(d, m.accessSum, 0, 0)
	}
	if h := incarnationHash(m.incarnation); h != 0 {
		d = task.Mix(d, h, 0, 0, 0, 0)
	}
	if m.active >= GateVersion {
		d = task.Mix(d, uint64(m.active), 0)
	}
	if h := removedHash(m.removed); h != 0 {
		d = task.Mix(d, h, 0, 0, 0)
	}
	return d
}

// Digest returns the digest of the state and the log index it stands at.
func (m *Machine) Digest() (index, digest uint64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.applied, m.digest()
}

// DigestAt returns the digest noted at a checkpoint.
func (m *Machine) DigestAt(checkpoint uint64) (index, digest uint64, ok bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, d := range m.digests {
		if d.Id == checkpoint {
			return d.Index, d.Digest, true
		}
	}
	return 0, 0, false
}
