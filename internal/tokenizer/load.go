package tokenizer

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	lib "github.com/daulet/tokenizers"
)

// maxFile bounds a file of the folder, in bytes. The largest tokenizer.json in use has 35 MB.
const maxFile = 512 << 20

// Load reads the tokenizer of a Hugging Face folder. Only tokenizer.json has to be there. Errors name the file.
func Load(dir string) (*Tokenizer, error) {
	file, err := readFile(dir)
	if err != nil {
		return nil, err
	}
	names, err := readNames(dir)
	if err != nil {
		return nil, err
	}
	for _, a := range names.added {
		file.add(a)
	}
	for _, role := range names.order {
		if a, named := names.special[role]; named && !file.isAdded(a.Content) {
			a.Special = true
			file.add(a)
		}
	}
	t := &Tokenizer{ids: file.ids, size: len(file.ids), last: file.next - 1}
	if names.split {
		t.options = append(t.options, lib.WithEncodeSpecialTokens())
	}
	if t.json, err = file.encode(); err != nil {
		return nil, fmt.Errorf("%s: %w", file.path, err)
	}
	if t.lib, err = lib.FromBytes(t.json, t.options...); err != nil {
		return nil, fmt.Errorf("%s: %s", file.path, strings.TrimPrefix(err.Error(), "Failed to create tokenizer from bytes: "))
	}
	t.texts, t.inRun = file.withNUL(), file.inRun()
	for role, s := range map[string]*Special{"bos_token": &t.BOS, "eos_token": &t.EOS, "pad_token": &t.PAD, "unk_token": &t.UNK} {
		*s = Special{ID: -1}
		if a, ok := names.special[role]; ok {
			s.Text = a.Content
			if id, ok := file.ids[a.Content]; ok {
				s.ID = id
			}
		}
	}
	if t.StopIDs, err = stopIDs(dir); err != nil {
		t.Close()
		return nil, err
	}
	if len(t.StopIDs) == 0 && t.EOS.ID >= 0 {
		t.StopIDs = []int32{t.EOS.ID}
	}
	t.EOSIDs = slices.Clone(t.StopIDs)
	if t.EOS.ID >= 0 {
		t.EOSIDs = append(t.EOSIDs, t.EOS.ID)
	}
	slices.Sort(t.EOSIDs)
	t.EOSIDs = slices.Compact(t.EOSIDs)
	return t, nil
}

// stopIDs returns eos_token_id, a number or a list, of generation_config.json, else of config.json.
func stopIDs(dir string) ([]int32, error) {
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
			return nil, fmt.Errorf("%s: eos_token_id: %w", path, err)
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
		return nil, fmt.Errorf("%s: %w", path, err)
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
