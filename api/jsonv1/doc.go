// Package jsonv1 defines version 1 of Rota's JSON: what `rota ... -o json` and `-o jsonl` print, and what every
// later interface that speaks JSON uses too. Programs may rely on it, and may decode into its types.
//
// # Rules of the format
//
//   - Names of fields are in snake_case.
//   - Within v1, fields are only added. No field is renamed or removed, and none gets another type, unit or meaning. A
//     reader must ignore fields that it does not know, and must expect new values of states and reasons.
//   - A time is a string as in RFC 3339, in UTC: "2030-01-31T18:00:00.25Z". It has up to nine digits of a second, without
//     zeros at the end. Its name ends in _at, except not_before. A time that is not known, or has not come, is null.
//   - A duration is a number, and its name ends in its unit: _ms is milliseconds. Durations are integers, rounded down;
//     only what bench measures has fractions.
//   - A size is a number of bytes. Its name ends in _bytes, or the comment says so.
//   - Ids, tokens and log indexes are integers of 64 bits. A reader that keeps numbers as floating point, as JavaScript
//     does, is exact up to 2^53 only. A digest is a string of 16 hexadecimal digits.
//   - A string is UTF-8. If bytes of users are not valid UTF-8, they are in a field of their own whose name ends in _base64
//     (standard encoding, with padding), and the field without that ending is empty. Standard error is the exception, because
//     people read it: its text is always there, with escapes such as \xff for those bytes.
//   - A field is left out only if its comment says "omitted". All others are always there. A list that is not omitted is
//     [] if it is empty, a map {}; neither is null.
//
// -o json prints one value with indentation, or a list of values as an array with one value on each line. -o jsonl prints
// each value on one line, and nothing for an empty list. With --as-completed, submit prints two values: the job that it
// has made, then the list of results.
//
// # Trade-offs
//
// The types are not those of the SDK (package client) or of the protocol (package rotav1): these may change for reasons of
// their own, and the format must not change with them. Whoever has other types copies the fields. What is a rule of the
// format and not a copy is here: which bytes are base64, how a time is written, which names a specification has.
//
// Go writes a nil slice as null. Whoever fills a type passes its lists through List, so that they are [] instead; the zero
// value of a type with lists is not yet a value of the format.
package jsonv1
