package network

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"time"
)

const (
	// mtu is the largest packet. Large ones cost less, and nothing depends on small ones.
	mtu = 16000
	// maxDelayed bounds the packets that wait; what comes beyond is lost, as with any
	// queue of a network.
	maxDelayed = 100_000
	// maxLine is how long a packet waits at most before a link with a Rate.
	maxLine = time.Second
)

// Link is what happens to packets on the way from one host to another.
type Link struct {
	// Cut: none arrives.
	Cut bool
	// Loss and Duplicate are how likely it is that a packet is lost, or comes twice.
	Loss, Duplicate float64
	// Delay is added, and something between 0 and Jitter, so that packets overtake.
	Delay, Jitter time.Duration
	// Rate is how many bytes pass in a second; 0: no limit. What is too much waits in a line, and is lost if the line
	// is long.
	Rate float64
	// Reset is how likely it is that a packet of TCP ends its connection, on both sides,
	// as a firewall does that has forgotten it.
	Reset float64
}

// Switch moves packets between hosts.
type Switch struct {
	mu    sync.Mutex
	hosts map[netip.Addr]*Host
	links map[[2]netip.Addr]Link
	// busy is until when a link with a Rate is at work.
	busy    map[[2]netip.Addr]time.Time
	random  *rand.Rand
	delayed queue
	number  uint64
	touched int64
	closed  bool

	wake    chan struct{}
	done    chan struct{}
	readers sync.WaitGroup
}

// NewSwitch returns a switch without hosts. seed decides what is lost and duplicated.
func NewSwitch(seed uint64) *Switch {
	s := &Switch{
		hosts: map[netip.Addr]*Host{}, links: map[[2]netip.Addr]Link{}, busy: map[[2]netip.Addr]time.Time{}, random: rand.New(rand.NewPCG(seed, 1)),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	s.readers.Go(s.deliverDelayed)
	return s
}

// Switched says that links can be set.
func (s *Switch) Switched() bool { return s != nil }

// Set says what happens from now on to packets from one host to another.
func (s *Switch) Set(from, to netip.Addr, l Link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links[[2]netip.Addr{from, to}] = l
}

// Heal makes all links whole, and returns how many packets they have harmed since the
// last time.
func (s *Switch) Heal() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.links)
	clear(s.busy)
	n := s.touched
	s.touched = 0
	return n
}

// AddHost makes a host with an address of 127.0.0.0/8. Hosts reach those whose addresses
// have the first three bytes in common.
func (s *Switch) AddHost(addr netip.Addr) (*Host, error) {
	h, err := newHost(addr)
	if err != nil {
		return nil, fmt.Errorf("make host %s: %w", addr, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.hosts[addr] != nil {
		return nil, errors.Join(fmt.Errorf("host %s is there already, or the switch is closed", addr), h.close())
	}
	s.hosts[addr] = h
	s.readers.Go(func() { s.read(h) })
	return h, nil
}

// Close ends the switch and all hosts. What runs in them runs on, with no network.
func (s *Switch) Close() error {
	s.mu.Lock()
	s.closed = true
	var errs []error
	for _, h := range s.hosts {
		errs = append(errs, h.close())
	}
	s.mu.Unlock()
	close(s.done)
	s.readers.Wait()
	return errors.Join(errs...)
}

// read moves the packets that a host sends.
func (s *Switch) read(from *Host) {
	buf := make([]byte, mtu+1)
	for {
		n, err := from.tun.Read(buf)
		if err != nil {
			return // the host was closed
		}
		if n < ipv4Header || buf[0]>>4 != 4 {
			continue
		}
		to, _ := netip.AddrFromSlice(buf[16:20])
		s.forward(from.Addr, to, buf[:n])
	}
}

// ipv4Header is the least length of an IPv4 packet, bytes.
const ipv4Header = 20

// forward does to a packet what its link says.
func (s *Switch) forward(from, to netip.Addr, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dst := s.hosts[to]
	if dst == nil {
		return
	}
	way := [2]netip.Addr{from, to}
	l, harmed := s.links[way]
	if !harmed {
		dst.receive(data)
		return
	}
	copies := 1
	switch {
	case l.Cut, s.random.Float64() < l.Loss:
		s.touched++
		return
	case s.random.Float64() < l.Reset && s.reset(from, dst, data):
		s.touched++
		return
	case s.random.Float64() < l.Duplicate:
		copies = 2
	}
	line := s.line(way, l.Rate, len(data))
	if line > maxLine {
		s.touched++
		return
	}
	delay := l.Delay + line
	if l.Jitter > 0 {
		delay += time.Duration(s.random.Int64N(int64(l.Jitter)))
	}
	if delay > 0 || copies > 1 {
		s.touched++
	}
	for range copies {
		if delay == 0 {
			dst.receive(data)
		} else if len(s.delayed) < maxDelayed {
			s.number++
			heap.Push(&s.delayed, packet{time.Now().Add(delay), s.number, dst, append([]byte(nil), data...)})
		}
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// line puts a packet into the line before a link, and returns how long it waits there.
func (s *Switch) line(way [2]netip.Addr, rate float64, length int) time.Duration {
	if rate == 0 {
		return 0
	}
	now := time.Now()
	free := s.busy[way]
	if free.Before(now) {
		free = now
	}
	if wait := free.Sub(now); wait > maxLine {
		return wait // it is not let in
	}
	free = free.Add(time.Duration(float64(length) / rate * float64(time.Second)))
	s.busy[way] = free
	return free.Sub(now)
}

// reset ends the connection that a packet belongs to, on both sides; false: it is none of
// TCP, or ends it itself.
func (s *Switch) reset(from netip.Addr, dst *Host, data []byte) bool {
	there, back := resets(data)
	if there == nil && back == nil {
		return false
	}
	if there != nil {
		dst.receive(there)
	}
	if src := s.hosts[from]; src != nil && back != nil {
		src.receive(back)
	}
	return true
}

// deliverDelayed delivers what waits, when its time has come.
func (s *Switch) deliverDelayed() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(s.deliverDue())
		select {
		case <-timer.C:
		case <-s.wake:
		case <-s.done:
			return
		}
	}
}

// deliverDue delivers what is due, and returns the time until the next.
func (s *Switch) deliverDue() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.delayed) > 0 {
		if wait := time.Until(s.delayed[0].at); wait > 0 {
			return wait
		}
		p := heap.Pop(&s.delayed).(packet)
		p.to.receive(p.data)
	}
	return time.Hour
}

// packet is one that waits.
type packet struct {
	at     time.Time
	number uint64
	to     *Host
	data   []byte
}

// queue is packets by the time they are due; it implements heap.Interface.
type queue []packet

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].number < q[j].number
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(packet)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// tunDevice is the device that TUN devices are made with.
const tunDevice = "/dev/net/tun"

// Available returns why hosts cannot be made here; nil: they can.
func Available() error {
	if _, err := os.Stat(tunDevice); err != nil {
		return fmt.Errorf("no TUN devices: %w", err)
	}
	s := NewSwitch(0)
	_, err := s.AddHost(netip.MustParseAddr("127.1.1.1"))
	return errors.Join(err, s.Close())
}
