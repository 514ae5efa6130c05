package network

import "encoding/binary"

// The parts of a TCP segment, and its flags.
const (
	protocolTCP = 6
	tcpHeader   = 20

	flagSYN, flagRST, flagACK = 0x02, 0x04, 0x10
)

// resets returns the packets that end the connection of a TCP packet: one for its receiver, in its own place in the
// stream, and one for its sender, at the place that the packet acknowledges. Anywhere else in the stream the kernel
// would not believe them. nil: none.
func resets(data []byte) (there, back []byte) {
	header := int(data[0]&0xf) * 4
	if data[9] != protocolTCP || header < ipv4Header || len(data) < header+tcpHeader {
		return nil, nil
	}
	from, to, tcp := data[12:16], data[16:20], data[header:]
	flags := tcp[13]
	seq, ack := binary.BigEndian.Uint32(tcp[4:]), binary.BigEndian.Uint32(tcp[8:])
	switch {
	case flags&flagRST != 0:
		return nil, nil
	case flags&flagACK == 0:
		// It asks for a connection, and is refused.
		return nil, resetPacket(to, from, tcp[2:4], tcp[0:2], 0, seq+1, flagRST|flagACK)
	case flags&flagSYN != 0:
		// It takes one, which is forgotten by the one that asked.
		return resetPacket(from, to, tcp[0:2], tcp[2:4], seq, ack, flagRST|flagACK), resetPacket(to, from, tcp[2:4], tcp[0:2], ack, 0, flagRST)
	default:
		return resetPacket(from, to, tcp[0:2], tcp[2:4], seq, 0, flagRST), resetPacket(to, from, tcp[2:4], tcp[0:2], ack, 0, flagRST)
	}
}

// resetPacket is an IPv4 packet of a TCP segment without data.
func resetPacket(from, to, fromPort, toPort []byte, seq, ack uint32, flags byte) []byte {
	p := make([]byte, ipv4Header+tcpHeader)
	p[0] = 4<<4 | ipv4Header/4
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	p[8], p[9] = 64, protocolTCP // hops
	copy(p[12:], from)
	copy(p[16:], to)
	binary.BigEndian.PutUint16(p[10:], checksum(p[:ipv4Header], 0))
	tcp := p[ipv4Header:]
	copy(tcp, fromPort)
	copy(tcp[2:], toPort)
	binary.BigEndian.PutUint32(tcp[4:], seq)
	binary.BigEndian.PutUint32(tcp[8:], ack)
	tcp[12], tcp[13] = tcpHeader/4<<4, flags
	// The addresses, the protocol and the length count as well.
	binary.BigEndian.PutUint16(tcp[16:], checksum(append(append([]byte(nil), p[12:20]...), tcp...), protocolTCP+tcpHeader))
	return p
}

// checksum is that of the Internet protocols, over an even number of bytes.
func checksum(data []byte, sum uint32) uint16 {
	for i := 0; i+1 < len(data); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(data[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
