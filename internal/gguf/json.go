package gguf

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"os"
	"path/filepath"
)

// object is a JSON object in order: key, value, key, value, …
type object []any

// MarshalJSONTo writes the object.
func (o object) MarshalJSONTo(e *jsontext.Encoder) error {
	if err := e.WriteToken(jsontext.BeginObject); err != nil {
		return err
	}
	for i := 0; i < len(o); i += 2 {
		if err := e.WriteToken(jsontext.String(o[i].(string))); err != nil {
			return err
		}
		if err := json.MarshalEncode(e, o[i+1]); err != nil {
			return err
		}
	}
	return e.WriteToken(jsontext.EndObject)
}

// writeJSON writes v as Python's json.dump(indent=2) does, with a newline at the end.
func writeJSON(dir, name string, v any) error {
	b, err := json.Marshal(v, jsontext.WithIndent("  "))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), append(b, '\n'), 0o644)
}

func writeText(dir, name, text string) error {
	return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
}
