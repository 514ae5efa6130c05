// Package raftnet is raft's transport: it carries raft's messages between servers.
//
// # Purpose
//
// Raft is made with a Transport. It says who a server is, lets in servers of the cluster and no
// others, bounds what they send, and corrects what raft does when a server is slow, unreachable, or
// not run. It knows raft and no Node: what it needs is in its Config.
//
// # Flow
//
// Connections are accepted in one place (accept.go) and opened in one place (streamlayer.go): TLS
// belongs there. Each begins with a handshake that says who speaks, to whom, and in which cluster
// (handshake.go). Admission lets in three kinds of servers: those of the latest configuration, the one
// that this server follows, and those that a known server names when it is asked (admission.go,
// knownservers.go). The last kind is needed because a follower that was away must hear a leader that
// it does not know, and a new server knows nobody. A server that was removed is not let in, whoever names it. Then every length is checked before it is decoded,
// every term before raft takes it over (conns.go, framing.go), and every request before raft sees it
// (requestcheck.go). The log has a line a minute and peer about what is refused (refusals.go).
//
// # What stands around raft
//
// Each wrapper is there for something that hashicorp/raft v1.7.3 does. Against that version each was
// taken out, and every test that is named with it failed. Do the same before you remove a wrapper, or
// go to another version of raft. Tests marked with * run raft itself, so they also fail if raft still
// does what the wrapper is there for; the others only show what the wrapper does. Tests marked with
// ** are in internal/sim/cluster, and run whole servers.
//
//   - peerIdentity (peeridentity.go): raft finds a server by its address alone, and takes a server that
//     has lost its data for the one that it was. TestAMessageReachesNobodyButTheServerThatIsMeant.
//   - elsewhere (elsewhere.go): raft knows a server only where its configuration has it, and only a
//     leader can change that. TestMessagesGoWhereAServerWasFound*.
//   - admission (admission.go): raft looks at messages from any sender, and takes over any term.
//     TestAStrangerIsNotHeard, TestAbsurdTermsAreRefused, TestRaftDoesNotHearOfAnAbsurdTerm*.
//   - framing (framing.go): raft's decoder trusts every length on the wire.
//     TestALengthIsRefusedBeforeItIsDecoded.
//   - checkRequest (requestcheck.go): raft stores entries that nobody can apply, and panics on a
//     configuration that it cannot decode. TestEntriesThatNoLeaderSendsAreRefused,
//     TestRaftDoesNotSeeAConfigurationThatItCannotRead*.
//   - pipeline (pipeline.go): raft's pipeline hangs after a refusal, and raft repeats itself every
//     CommitTimeout. TestPipelineEndsAtARefusal, TestPipelineDoesNotRepeatItself.
//   - batchSizes (batchsize.go): raft bounds a message by its number of entries, whatever their size,
//     and sends a message again that was too large to arrive within its second.
//     TestAMessageIsCutToWhatItsServerTakes, TestAServerCatchesUpOverASlowLink**.
//   - progress (progress.go): raft drops log that a server needs next which is still taking the state
//     over. TestTheLogIsKeptForServersOnTheirWay, TestAServerCatchesUpHoweverLongTheStateTakes**.
//   - unreachable (unreachable.go): raft waits for up to ten seconds before it sends entries to a
//     server that is back, and sends a state to its end after it was deposed.
//     TestEntriesWaitForAServerThatIsAway, TestEntriesReachAServerThatIsBackAtOnce*,
//     TestADeposedLeaderStopsSendingItsState.
//   - voteGuard (voteguard.go): a server wins elections at an address that the others do not know.
//     TestAServerThatHasMovedAsksForNoVotes*.
//   - serialHeartbeats (heartbeats.go): a heartbeat of a later term deposes a leader in the middle of a
//     write. TestADeposedLeaderWritesNothingUnderTheNextTerm*. Heartbeats would then wait for the disk:
//     TestHeartbeatsDoNotWaitForTheDisk*.
//   - leaderWatch (leaderwatch.go): raft's timer cannot tell a silent leader from a server that was not
//     run: TestAServerThatWasNotRunListensToItsLeaderFirst*. Raft refuses its vote while it has a
//     leader, however silent: TestASilentLeaderIsGivenUpWhenACandidateAsks*. Raft grants a pre-vote to
//     everybody who asks: TestOneOfTwoEqualCandidatesYields*. All of it together:
//     TestALostLeaderIsReplacedInOneRound**.
//   - logger (logger.go, repeats.go, unreachablelog.go): raft says the same several times a second.
//     TestRaftSaysTheSameOnceAMinute, TestAnAbsentServerHasALineAMinute.
//
// # Trade-offs
//
// In plain text, whoever reaches the port, and knows the ids of two servers, can pass for one of
// them. It can then depose leaders, and have entries written that it made. It cannot use up terms or
// memory, nor have anything written that no server could read.
package raftnet
