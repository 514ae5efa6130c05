package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// WriteEDN writes a history as Jepsen's history.edn: a map for each op, with keywords for
// keys, types and functions.
func WriteEDN(to io.Writer, ops []Op) error {
	out := bufio.NewWriter(to)
	for _, op := range ops {
		value := "nil"
		if len(op.Value) > 0 {
			var v any
			// Numbers as they stand: an id of 64 bits has no place in a float.
			d := json.NewDecoder(bytes.NewReader(op.Value))
			d.UseNumber()
			if err := d.Decode(&v); err != nil {
				return fmt.Errorf("op %d: %w", op.Index, err)
			}
			value = edn(v)
		}
		fmt.Fprintf(out, "{:index %d, :time %d, :type :%s, :f :%s, :value %s, :process %s", op.Index, op.Time, op.Type, op.F, value, process(op.Process))
		if op.Node != "" {
			fmt.Fprintf(out, ", :node %s", strconv.Quote(op.Node))
		}
		if op.Error != "" {
			fmt.Fprintf(out, ", :error %s", strconv.Quote(op.Error))
		}
		fmt.Fprintln(out, "}")
	}
	return out.Flush()
}

func process(p int) string {
	switch p {
	case Nemesis:
		return ":nemesis"
	case Observer:
		return ":observer"
	default:
		return strconv.Itoa(p)
	}
}

// edn is a decoded JSON value in EDN.
func edn(v any) string {
	switch v := v.(type) {
	case nil:
		return "nil"
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return v.String()
	case string:
		return strconv.Quote(v)
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = edn(v[i])
		}
		return "[" + strings.Join(parts, " ") + "]"
	case map[string]any:
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, ":"+strings.ReplaceAll(k, "_", "-")+" "+edn(v[k]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	default:
		return strconv.Quote(fmt.Sprint(v))
	}
}
