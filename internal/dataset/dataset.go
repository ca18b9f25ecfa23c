// Package dataset reads rows of the user's files and keeps them as an artifact.
//
//	Row       an object: a value a column, in the order of the columns
//	Role      what a column is for: messages, prompt, completion, label, chosen, rejected, text; answer, tools
//	Format    the set of roles that a row has: one of six
//	Header    a dataset's format, its number of rows and the column of each role: dataset.json
//	Source    JSONL, JSON, CSV, Parquet or plain text of the user's, one file or a folder of shards
//	Dataset   an artifact opened for reading: data.parquet with its Header
//	Writer    makes an artifact; equal rows give equal bytes
//
// What is read is what is given back: an artifact's rows equal the source's, order of keys and spelling of numbers
// included, with these exceptions, each of which the field's own tools share. A number is spelled as Python spells
// it. A message's fields begin with role and content, and a field that is null is not there, since a Parquet struct
// cannot tell the two apart (TRL drops nulls for that reason). The prompt that chosen and rejected both begin with, where there is no
// other, becomes a column. A column that a row lacks is null. Columns of a type
// that JSON has no word for (binary, images) are left out with a warning.
//
// What Parquet's types cannot hold exactly (values of several types in one place, keys in several orders, explicit
// nulls beside absent fields) is kept there as JSON text, and the header names the place.
package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hone-ml/hone/internal/ordjson"
)

// Row is one row: columns in order, each nil, bool, string, ordjson.Number, []ordjson.Value or *ordjson.Object.
type Row = *ordjson.Object

// Value is what a column holds.
type Value = ordjson.Value

// Format is the shape of a dataset's rows.
type Format string

// The formats, with TRL's names, in the order in which they are detected.
const (
	Messages         Format = "messages"          // a conversation
	Preference       Format = "preference"        // prompt, chosen, rejected
	KTO              Format = "kto"               // prompt, completion, label
	PromptCompletion Format = "prompt-completion" // prompt, completion
	Prompt           Format = "prompt"            // prompt
	Text             Format = "text"              // plain text
)

// Role is what a column is for.
type Role = string

// formats lists the roles that each format needs, in the order of detection.
var formats = []struct {
	format Format
	roles  []Role
}{
	{Messages, []Role{"messages"}},
	{Preference, []Role{"prompt", "chosen", "rejected"}},
	{KTO, []Role{"prompt", "completion", "label"}},
	{PromptCompletion, []Role{"prompt", "completion"}},
	{Prompt, []Role{"prompt"}},
	{Text, []Role{"text"}},
}

// optional are roles that any format may have besides its own.
var optional = []Role{"answer", "tools"}

// Roles returns the roles that the format needs.
func (f Format) Roles() []Role {
	for _, known := range formats {
		if known.format == f {
			return known.roles
		}
	}
	return nil
}

// Header describes a dataset: dataset.json beside data.parquet.
type Header struct {
	Format  Format          `json:"format"`
	Rows    int64           `json:"rows"`
	Columns map[Role]string `json:"columns"`         // the column of each role
	JSON    []string        `json:"json,omitempty"`  // places whose text is JSON: "messages[].arguments"
	Nulls   []string        `json:"nulls,omitempty"` // fields of objects where null is a value, not an absence
}

// Get returns the value of the role in a row: nil where the dataset has no such role.
func (h *Header) Get(row Row, role Role) Value {
	column, ok := h.Columns[role]
	if !ok {
		return nil
	}
	v, _ := row.Get(column)
	return v
}

const (
	dataFile   = "data.parquet"
	headerFile = "dataset.json"
	headerSize = 16 << 20 // bytes, at most
)

func readHeader(dir string) (*Header, error) {
	file := filepath.Join(dir, headerFile)
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > headerSize {
		return nil, fmt.Errorf("%s: %d bytes is more than a header has", file, info.Size())
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var h Header
	if err := json.Unmarshal(b, &h); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &h, nil
}

func (h *Header) check() error {
	roles := h.Format.Roles()
	if roles == nil {
		return fmt.Errorf("unknown format %q", h.Format)
	}
	if h.Rows < 0 {
		return errors.New("rows is below 0")
	}
	for _, role := range roles {
		if h.Columns[role] == "" {
			return fmt.Errorf("format %s has no column for %s", h.Format, role)
		}
	}
	return nil
}

func writeHeader(dir string, h *Header) error {
	b, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, headerFile), append(b, '\n'), 0o644)
}
