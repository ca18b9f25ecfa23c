package chat

import (
	"encoding/json/jsontext"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/hone-ml/hone/internal/ordjson"
)

// addedTokens reads added_tokens of a tokenizer.json and skips the rest: the vocabulary is megabytes, and may hold
// text that strict JSON refuses.
func addedTokens(file string) ([]ordjson.Value, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d := jsontext.NewDecoder(io.LimitReader(f, maxFile), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return nil, errors.Join(errors.New("not an object"), err)
	}
	for {
		key, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		if key.Kind() == '}' {
			return nil, nil
		}
		if key.String() != "added_tokens" {
			if err := d.SkipValue(); err != nil {
				return nil, err
			}
			continue
		}
		raw, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		v, err := ordjson.Parse(raw)
		if err != nil {
			return nil, err
		}
		list, _ := v.([]ordjson.Value)
		return list, nil
	}
}
