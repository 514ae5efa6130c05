package wire

import (
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec that is bounded here
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/rota-scheduler/rota/task"
)

const (
	// MaxElements bounds the elements of a request: the messages in it, and the items of its lists and maps. A worker
	// that attaches again may list all tasks that it holds, each of another job, with two elements each. Two bytes on
	// the wire become up to 200 in memory: 13 MiB for all.
	MaxElements = 64 << 10
	// smallMessage is the largest message whose elements are not counted, bytes: it has at most half as many.
	smallMessage = 64 << 10
	// scalarsPerElement is how many packed numbers take about as much as an element.
	scalarsPerElement = 16
)

// boundedCodec is gRPC's codec, but it refuses requests with too many elements before it decodes them: these would take far
// more memory than their bytes.
type boundedCodec struct {
	encoding.CodecV2
	tooLarge *tooLarge
}

func newBoundedCodec(t *tooLarge) encoding.CodecV2 {
	return boundedCodec{encoding.GetCodecV2("proto"), t}
}

// sized is a message to send with its size, which the sender has measured already.
type sized struct {
	message any
	size    int
}

// Marshal implements encoding.CodecV2. A large message gets a buffer of about its size. One of gRPC's pool would have 1 MiB,
// and is held for as long as the client does not read.
func (c boundedCodec) Marshal(v any) (mem.BufferSlice, error) {
	s, ok := v.(*sized)
	if !ok {
		if s, ok = measured(v); !ok {
			return c.CodecV2.Marshal(v)
		}
	}
	// This goroutine has measured it just now, so the sizes of all messages inside are known.
	options, m := proto.MarshalOptions{UseCachedSize: true}, s.message.(proto.Message)
	if mem.IsBelowBufferPoolingThreshold(s.size) {
		data, err := options.Marshal(m)
		if err != nil {
			return nil, err
		}
		return mem.BufferSlice{mem.SliceBuffer(data)}, nil
	}
	pool := poolFor(s.size)
	buf := pool.Get(s.size)
	data, err := options.MarshalAppend((*buf)[:0], m)
	if err != nil {
		pool.Put(buf)
		return nil, err
	}
	*buf = data
	return mem.BufferSlice{mem.NewBuffer(buf, pool)}, nil
}

// poolFor is the pool for buffers of some size.
func poolFor(size int) mem.BufferPool {
	if size > largestPooled {
		return &large
	}
	return mem.DefaultBufferPool()
}

// measured returns a message with its size; false: it cannot be measured.
func measured(v any) (*sized, bool) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, false
	}
	return &sized{m, proto.Size(m)}, true
}

// Unmarshal implements encoding.CodecV2.
func (c boundedCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if in, ok := v.(*incoming); ok {
		return in.decode(data.Len(), func() error { return c.Unmarshal(data, in.message) })
	}
	m, ok := v.(proto.Message)
	if !ok || data.Len() <= largestPooled {
		return c.CodecV2.Unmarshal(data, v)
	}
	buf := data.MaterializeToBuffer(&large)
	defer buf.Free()
	if data.Len() > smallMessage {
		if n := CountElements(buf.ReadOnlyData(), m.ProtoReflect().Descriptor(), MaxElements); n > MaxElements {
			c.tooLarge.elements.Add(1)
			return task.Errorf(task.KindTooLarge, "a message of %d bytes has more than %d elements: use several", data.Len(), MaxElements)
		}
	}
	return proto.Unmarshal(buf.ReadOnlyData(), m)
}

// CountElements returns how many elements an encoded message has, or a number above limit if there are more. It counts a
// malformed message as far as it goes; decoding refuses it.
func CountElements(b []byte, of protoreflect.MessageDescriptor, limit int) (n int) {
	fields := of.Fields()
	for len(b) > 0 && n <= limit {
		number, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return n
		}
		b = b[size:]
		if size = protowire.ConsumeFieldValue(number, kind, b); size < 0 {
			return n
		}
		value := b[:size]
		b = b[size:]
		field := fields.ByNumber(number)
		if field == nil {
			continue // decoding keeps it as bytes
		}
		if kind != protowire.BytesType {
			if field.IsList() {
				n++
			}
			continue
		}
		inside, _ := protowire.ConsumeBytes(value)
		switch {
		case field.Message() != nil:
			n += 1 + CountElements(inside, field.Message(), limit-n)
		case field.IsList() && field.Kind() != protoreflect.StringKind && field.Kind() != protoreflect.BytesKind:
			n += 1 + len(inside)/scalarsPerElement
		case field.IsList():
			n++
		}
	}
	return n
}
