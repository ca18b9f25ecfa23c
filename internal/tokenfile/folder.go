package tokenfile

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/hone-ml/hone/internal/ordjson"
)

// maxFile bounds a file of the folder, in bytes. The largest tokenizer.json in use has 35 MB.
const maxFile = 512 << 20

// StopIDs returns eos_token_id, a number or a list, of generation_config.json, else of config.json.
func StopIDs(dir string) ([]int32, error) {
	for _, name := range []string{"generation_config.json", "config.json"} {
		path := filepath.Join(dir, name)
		config, err := readObject(path)
		if err != nil {
			return nil, err
		}
		v := config["eos_token_id"]
		if v == nil || v.Kind() == 'n' {
			continue
		}
		var ids []int32
		if v.Kind() != '[' {
			v = slices.Concat([]byte("["), v, []byte("]"))
		}
		if err := json.Unmarshal(v, &ids); err != nil {
			return nil, fmt.Errorf("%s: eos_token_id: %w", path, ordjson.Explain(v, err))
		}
		slices.Sort(ids)
		return slices.Compact(ids), nil
	}
	return nil, nil
}

// readObject reads a JSON object; a file that is not there is an empty one.
func readObject(path string) (map[string]jsontext.Value, error) {
	b, err := readBounded(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var m map[string]jsontext.Value
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", path, ordjson.Explain(b, err))
	}
	return m, nil
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s: larger than %d bytes", path, maxFile)
	}
	return b, err
}
