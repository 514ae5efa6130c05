package tasklog

import (
	"context"
	"fmt"
	"sync"
	"testing"
)

// BenchmarkWrite is what a command pays for 4 KiB of its output: with nobody who reads, with readers who do nothing, and with
// readers who keep up. Those need processors of their own.
func BenchmarkWrite(b *testing.B) {
	for _, readers := range []struct{ idle, busy int }{{0, 0}, {100, 0}, {0, 1}, {0, 100}} {
		b.Run(fmt.Sprintf("idle=%d/busy=%d", readers.idle, readers.busy), func(b *testing.B) {
			l := newStore(b, 1, 256, 256).Open(Key{Token: 1})
			ctx, cancel := context.WithCancel(context.Background())
			var reading sync.WaitGroup
			for range readers.idle {
				r := l.Read(Position{}, Both)
				_, _ = r.Ready(1)
			}
			for range readers.busy {
				reading.Go(func() {
					r := l.Read(Position{}, Both)
					for {
						if _, err := r.Next(ctx, BlockSize); err != nil {
							return
						}
					}
				})
			}
			data := make([]byte, 4<<10)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				l.Stdout(data)
			}
			b.StopTimer()
			cancel()
			reading.Wait()
		})
	}
}

// BenchmarkShortLog is what each command pays whose output is a line.
func BenchmarkShortLog(b *testing.B) {
	s := newStore(b, 1, 256, 256)
	line := []byte("hello\n")
	b.ReportAllocs()
	token := uint64(0)
	for b.Loop() {
		token++
		l := s.Open(Key{Token: token})
		l.Stdout(line)
		l.End()
	}
}
