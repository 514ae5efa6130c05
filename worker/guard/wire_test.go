//go:build linux

package guard

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestStartRequestsCrossTheWire(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := &Request{
			ID: rapid.Uint64().Draw(t, "id"), Exclusive: rapid.Bool().Draw(t, "exclusive"),
			Path: rapid.String().Draw(t, "path"), Dir: rapid.String().Draw(t, "dir"),
			Argv: rapid.SliceOfN(rapid.String(), 1, 5).Draw(t, "argv"), Env: rapid.SliceOfN(rapid.String(), 1, 5).Draw(t, "env"),
			Stdin: rapid.SampledFrom([]int{-1, 7}).Draw(t, "stdin"), Stdout: 8, Stderr: 9,
		}
		sent := append(want.frame(), numberFrame(frameHold)...)
		files := append(want.files(), 10)
		var in frames
		for len(sent) > 0 {
			n := rapid.IntRange(1, len(sent)).Draw(t, "arrives")
			in.feed(sent[:n])
			sent = sent[n:]
			kind, f, ok, err := in.next()
			require.NoError(t, err)
			if !ok {
				continue
			}
			require.Equal(t, byte(frameStart), kind)
			got, err := parseStart(f.rest, &files)
			require.NoError(t, err)
			require.Equal(t, want, got)
			require.Equal(t, []int{10}, files)
			_, err = parseStart(f.rest[:len(f.rest)-1], &files)
			require.Error(t, err)
			return
		}
	})
}

// FuzzFrames: whatever arrives at either end of the socket between agent and keeper or guard, in whatever pieces, it
// is decoded or refused, and no file gets lost.
func FuzzFrames(f *testing.F) {
	start := &Request{ID: 7, Exclusive: true, Path: "/bin/sh", Dir: "/", Argv: []string{"sh", "-c", ""}, Env: []string{"a=b"}, Stdin: 3, Stdout: 4, Stderr: 5}
	f.Add(start.frame(), uint8(3), uint8(1))
	f.Add(append(numberFrame(frameSignal, 7, 9), leaseFrame(time.Hour)...), uint8(0), uint8(3))
	f.Add(append(numberFrame(frameHold), numberFrame(frameRelease)...), uint8(0), uint8(100))
	f.Add(append(numberFrame(frameExclusive, 1, 1), scratchFrame("/tmp")...), uint8(0), uint8(5))
	f.Add(append(numberFrame(frameRetire), numberFrame(framePing)...), uint8(0), uint8(0))
	f.Add(numberFrame('?', 1<<63), uint8(0), uint8(2))
	f.Add([]byte{0, 0, 0, 0}, uint8(0), uint8(1))
	f.Add([]byte{255, 255, 255, 255, 'S'}, uint8(0), uint8(4))
	f.Fuzz(func(t *testing.T, stream []byte, arrived, piece uint8) {
		var in frames
		files := make([]int, arrived)
		for i := range files {
			files[i] = i
		}
		// They have no socket: what they send is lost.
		nowhere := func() socket { return socket{file: -1, behind: make(chan struct{}, 1), flushes: true} }
		g := &supervisor{socket: nowhere(), look: make(chan struct{}, 1)}
		k := &keeper{socket: nowhere(), look: make(chan struct{}, 1), exit: func(int) {}}
		for len(stream) > 0 {
			n := min(len(stream), int(piece)+1)
			in.feed(stream[:n])
			stream = stream[n:]
			for {
				kind, f, ok, err := in.next()
				if err != nil {
					return
				}
				if !ok {
					require.LessOrEqual(t, len(in.buf), maxFrame+4)
					break
				}
				if kind != frameStart {
					if kind != frameKeeper {
						_ = g.handle(kind, f, &files)
					}
					if k.handle(kind, f, &files) != nil {
						return
					}
					continue
				}
				before := len(files)
				r, err := parseStart(f.rest, &files)
				if err != nil {
					require.Len(t, files, before)
					return
				}
				want := 2
				if r.Stdin >= 0 {
					want = 3
				}
				require.Len(t, files, before-want)
				// What was decoded can be encoded and decoded again.
				mine := r.files()
				again, err := parseStart(r.frame()[5:], &mine)
				require.NoError(t, err)
				require.Equal(t, r, again)
			}
		}
	})
}
