package fsm

import (
	"errors"
	"fmt"
	"sync"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/rota-scheduler/rota/fsm/logpb"
)

// CheckEntry returns ErrMalformed for data that DecodeEntry cannot decode. It says nothing of
// what a newer build may have written. It builds nothing, so it costs a small part of what
// decoding does: a server can afford it for each entry that it is sent.
func CheckEntry(data []byte) error {
	version, err := entryShape().check(data, versionField, 0)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	case uint32(version) == 0:
		return fmt.Errorf("%w: it has no version", ErrMalformed)
	}
	return nil
}

// versionField is the number of logpb.Entry's version.
const versionField protowire.Number = 1

// entryShape is the shape of a log entry.
var entryShape = sync.OnceValue(func() *shape {
	return shapeOf((&logpb.Entry{}).ProtoReflect().Descriptor(), map[protoreflect.FullName]*shape{})
})

// shape is what the fields of a message look like on the wire.
type shape struct {
	// fields is by number; those without a type are unknown.
	fields []fieldShape
}

type fieldShape struct {
	known bool
	wire  protowire.Type
	// message is the shape of a field that is a message.
	message *shape
	// text says that the field must be UTF-8.
	text bool
	// packed says that numbers of that type may stand in one field, one behind the other.
	packed bool
}

func shapeOf(d protoreflect.MessageDescriptor, made map[protoreflect.FullName]*shape) *shape {
	if s := made[d.FullName()]; s != nil {
		return s
	}
	s := &shape{}
	made[d.FullName()] = s
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		for len(s.fields) <= int(f.Number()) {
			s.fields = append(s.fields, fieldShape{})
		}
		shape := fieldShape{known: true, wire: wireOf(f.Kind()), text: f.Kind() == protoreflect.StringKind}
		if f.Message() != nil {
			shape.message = shapeOf(f.Message(), made)
		}
		shape.packed = f.IsList() && shape.wire != protowire.BytesType
		s.fields[f.Number()] = shape
	}
	return s
}

func wireOf(k protoreflect.Kind) protowire.Type {
	switch k {
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return protowire.Fixed32Type
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return protowire.Fixed64Type
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	case protoreflect.GroupKind:
		return protowire.StartGroupType
	}
	return protowire.VarintType
}

// maxShapeDepth is how deep messages stand in each other; those of an entry stand four deep.
const maxShapeDepth = 32

// check walks over a message, and returns the last value of its field wanted, a number.
func (s *shape) check(data []byte, wanted protowire.Number, depth int) (value uint64, err error) {
	if depth > maxShapeDepth {
		return 0, errors.New("messages stand too deep in each other")
	}
	for len(data) > 0 {
		number, wire, n := protowire.ConsumeTag(data)
		if n < 0 {
			return 0, protowire.ParseError(n)
		}
		if number > protowire.MaxValidNumber {
			return 0, fmt.Errorf("a field with the number %d", number)
		}
		data = data[n:]
		size := protowire.ConsumeFieldValue(number, wire, data)
		if size < 0 {
			return 0, protowire.ParseError(size)
		}
		if number == wanted && wire == protowire.VarintType {
			value, _ = protowire.ConsumeVarint(data)
		}
		if int(number) < len(s.fields) && s.fields[number].known && wire == protowire.BytesType {
			content, _ := protowire.ConsumeBytes(data)
			if err := s.fields[number].checkContent(content, depth); err != nil {
				return 0, err
			}
		}
		data = data[size:]
	}
	return value, nil
}

// checkContent checks what a known field with a length holds.
func (f fieldShape) checkContent(content []byte, depth int) error {
	switch {
	case f.message != nil:
		_, err := f.message.check(content, 0, depth+1)
		return err
	case f.text && !utf8.Valid(content):
		return errors.New("text that is not UTF-8")
	case f.packed:
		for len(content) > 0 {
			n := protowire.ConsumeFieldValue(1, f.wire, content)
			if n < 0 {
				return protowire.ParseError(n)
			}
			content = content[n:]
		}
	}
	return nil
}
