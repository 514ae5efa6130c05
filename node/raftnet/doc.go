// Package raftnet is raft's transport: it carries raft's messages between servers.
//
// # Purpose
//
// A Transport is what raft is made with. It says who a server is, lets in servers of the cluster
// and no others, bounds what they send, and corrects what raft does where a server is slow,
// unreachable, or not run. It knows raft and no Node: what it needs is in its Config.
//
// # Flow
//
// Connections are accepted in one place (accept.go) and dialled in one (streamlayer.go): TLS
// belongs there. Each begins with a handshake that says who speaks, to whom, and in which cluster
// (handshake.go). Admission lets in whom the latest configuration has, whom this server follows,
// and whom a server that is known here vouches for (admission.go, knownservers.go): a follower
// that was away must hear a leader that it does not know, and a new server knows nobody. Then
// every length is checked before it is decoded, every term before raft takes it over (conns.go,
// framing.go), and every request before raft sees it (requestcheck.go). What is refused has a
// line a minute and peer in the log (refusals.go).
//
// # What stands around raft
//
// Each wrapper is there for something that raft does, all of it in hashicorp/raft v1.7.3. Against
// that version, serialHeartbeats and the end of a pipeline were switched off, and the tests named
// there failed. The other tests say what a wrapper does; before one is removed, or raft is
// replaced by another version, see whether raft still needs it.
//
//   - peerIdentity (peeridentity.go): raft finds a server by its address alone, and takes one
//     that has lost its data for the one before. TestAMessageReachesNobodyButTheServerThatIsMeant.
//   - admission (admission.go): raft looks at messages whoever sends them. TestAStrangerIsNotHeard,
//     TestAbsurdTermsAreRefused.
//   - framing (framing.go): raft's decoder takes every length from the wire for true.
//     TestALengthIsRefusedBeforeItIsDecoded.
//   - checkRequest (requestcheck.go): raft stores entries that nobody can apply, and panics on a
//     configuration that it cannot decode. TestEntriesThatNoLeaderSendsAreRefused.
//   - pipeline (pipeline.go): a pipeline hangs behind a refusal, and raft repeats itself every
//     CommitTimeout. TestPipelineEndsAtARefusal, TestPipelineDoesNotRepeatItself.
//   - batchSizes (batchsize.go): raft bounds a message by entries, whatever their size, and sends
//     one that was too large for its second again. TestAMessageIsCutToWhatItsServerTakes.
//   - progress (progress.go): raft drops the log that a server on its way needs next.
//     TestTheLogIsKeptForServersOnTheirWay.
//   - unreachable (unreachable.go): raft waits for up to ten seconds before it sends entries to a
//     server that is back. TestEntriesWaitForAServerThatIsAway.
//   - voteGuard (voteguard.go): a server wins elections at an address that the others do not
//     know. No test here shows that.
//   - serialHeartbeats (heartbeats.go): a heartbeat of a later term deposes a leader in the midst
//     of a write. TestADeposedLeaderWritesNothingUnderTheNextTerm, TestHeartbeatsDoNotWaitForTheDisk.
//   - leaderWatch (leaderwatch.go): raft's timer cannot tell a silent leader from a server that
//     was not run. No test here shows that by itself;
//     TestAServerThatNeverLedDoesNotAskForLeadershipAgain covers one case of its own.
//   - logger (logger.go, repeats.go, unreachablelog.go): raft says the same several times a second.
//     TestRaftSaysTheSameOnceAMinute, TestAnAbsentServerHasALineAMinute.
//
// # Trade-offs
//
// There is no TLS yet. Who reaches the port, and knows the ids of two servers, can pass for
// one of them: it can depose leaders, and have entries written that it made. It cannot use up
// terms or memory, nor have written what no server could read.
package raftnet
