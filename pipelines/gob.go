package pipelines

import (
	"encoding/binary"
	"encoding/json"
	"errors"

	"cuelang.org/go/cue/token"
)

// GobEncode writes a field as its parts one after the other, its value as JSON: gob knows no value of any kind.
func (f Field) GobEncode() ([]byte, error) {
	value, err := json.Marshal(f.Value)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, len(f.Path)+len(value)+len(f.Pos.Filename)+16)
	for _, part := range []string{f.Path, string(value), f.Pos.Filename} {
		b = append(binary.AppendUvarint(b, uint64(len(part))), part...)
	}
	explicit := 0
	if f.Explicit {
		explicit = 1
	}
	for _, n := range []int{f.Pos.Offset, f.Pos.Line, f.Pos.Column, explicit} {
		b = binary.AppendVarint(b, int64(n))
	}
	return b, nil
}

var errField = errors.New("not a field as GobEncode writes it")

// GobDecode reads what GobEncode wrote.
func (f *Field) GobDecode(b []byte) error {
	var parts [3]string
	for i := range parts {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return errField
		}
		parts[i], b = string(b[size:size+int(n)]), b[size+int(n):]
	}
	var numbers [4]int
	for i := range numbers {
		n, size := binary.Varint(b)
		if size <= 0 {
			return errField
		}
		numbers[i], b = int(n), b[size:]
	}
	f.Path, f.Explicit = parts[0], numbers[3] == 1
	f.Pos = token.Position{Filename: parts[2], Offset: numbers[0], Line: numbers[1], Column: numbers[2]}
	return json.Unmarshal([]byte(parts[1]), &f.Value)
}
