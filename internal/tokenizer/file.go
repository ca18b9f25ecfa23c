package tokenizer

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// addedToken is a token of tokenizer.json's added_tokens.
type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	Lstrip     bool   `json:"lstrip"`
	Rstrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// file is tokenizer.json, its members in order and unread but for what is changed.
type file struct {
	path    string
	members []member
	added   []addedToken
	ids     map[string]int32
	next    int32
}

type member struct {
	name  string
	value jsontext.Value
}

func readFile(dir string) (*file, error) {
	f := &file{path: filepath.Join(dir, "tokenizer.json")}
	b, err := readBounded(f.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: no tokenizer.json: only tokenizers that the tokenizers library reads are known; save one with AutoTokenizer.from_pretrained(…).save_pretrained(…)", dir)
	}
	if err != nil {
		return nil, err
	}
	if err := f.parse(b); err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	return f, nil
}

func (f *file) parse(b []byte) error {
	// Vocabularies with a token twice exist; the library takes the last, and so do the maps here.
	d := jsontext.NewDecoder(bytes.NewReader(b), jsontext.AllowDuplicateNames(true))
	if d.PeekKind() != '{' {
		return errors.New("not a JSON object")
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		m := member{name: name.String()}
		if m.value, err = d.ReadValue(); err != nil {
			return err
		}
		m.value = m.value.Clone()
		f.members = append(f.members, m)
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for _, m := range f.members {
		var err error
		switch m.name {
		case "added_tokens":
			err = json.Unmarshal(m.value, &f.added)
		case "model":
			f.ids, err = vocabulary(m.value)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	if f.ids == nil {
		return errors.New("model: missing")
	}
	for _, a := range f.added {
		f.ids[a.Content] = a.ID
	}
	for _, id := range f.ids {
		f.next = max(f.next, id+1)
	}
	return nil
}

// vocabulary returns token → id of a model: an object (BPE, WordPiece, WordLevel) or a list of pairs (Unigram).
func vocabulary(model jsontext.Value) (map[string]int32, error) {
	var m struct {
		Vocab jsontext.Value `json:"vocab"`
	}
	if err := json.Unmarshal(model, &m, jsontext.AllowDuplicateNames(true)); err != nil {
		return nil, err
	}
	ids := map[string]int32{}
	if m.Vocab.Kind() != '[' {
		return ids, json.Unmarshal(m.Vocab, &ids, jsontext.AllowDuplicateNames(true))
	}
	var list [][]jsontext.Value
	if err := json.Unmarshal(m.Vocab, &list); err != nil {
		return nil, err
	}
	for i, pair := range list {
		var token string
		if len(pair) == 0 {
			return nil, fmt.Errorf("vocab[%d]: empty", i)
		}
		if err := json.Unmarshal(pair[0], &token); err != nil {
			return nil, fmt.Errorf("vocab[%d]: %w", i, err)
		}
		ids[token] = int32(i)
	}
	return ids, nil
}

func (f *file) isAdded(content string) bool {
	return slices.ContainsFunc(f.added, func(a addedToken) bool { return a.Content == content })
}

// add makes a an added token: at its id in the vocabulary where it is there, else at the next free one.
func (f *file) add(a addedToken) {
	if a.Content == "" {
		return
	}
	id, known := f.ids[a.Content]
	if !known {
		id = f.next
		f.next++
		f.ids[a.Content] = id
	}
	a.ID = id
	for i := range f.added {
		if f.added[i].Content == a.Content {
			f.added[i] = a
			return
		}
	}
	f.added = append(f.added, a)
}

// encode returns tokenizer.json with the added tokens, without truncation and padding.
func (f *file) encode() ([]byte, error) {
	added, err := json.Marshal(f.added)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range f.members {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := jsontext.AppendQuote(nil, m.name)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		switch m.name {
		case "truncation", "padding":
			b.WriteString("null")
		case "added_tokens":
			b.Write(added)
		default:
			b.Write(m.value)
		}
	}
	if !slices.ContainsFunc(f.members, func(m member) bool { return m.name == "added_tokens" }) {
		b.WriteString(`,"added_tokens":`)
		b.Write(added)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// withNUL returns the decoded texts of the tokens that hold a NUL byte: Ā in byte-level vocabularies, <0x00> in those
// with byte fallback.
func (f *file) withNUL() map[int32]string {
	byteLevel := slices.ContainsFunc(f.members, func(m member) bool {
		return m.name == "decoder" && bytes.Contains(m.value, []byte(`"ByteLevel"`))
	})
	texts := map[int32]string{}
	for token, id := range f.ids {
		switch {
		case token == "<0x00>":
			texts[id] = "\x00"
		case byteLevel && strings.ContainsRune(token, 'Ā') && !f.isAdded(token):
			texts[id] = strings.ToValidUTF8(string(byteLevelBytes(token)), "\uFFFD")
		}
	}
	return texts
}

// inRun returns for byte tokens true, and false for ids that are skipped and so end no run: special tokens, and holes in
// the vocabulary. It is nil for a tokenizer without byte fallback.
func (f *file) inRun() map[int32]bool {
	if !slices.ContainsFunc(f.members, func(m member) bool {
		return m.name == "decoder" && bytes.Contains(m.value, []byte(`"ByteFallback"`))
	}) {
		return nil
	}
	run := map[int32]bool{}
	for id := range f.next {
		run[id] = false
	}
	for token, id := range f.ids {
		delete(run, id)
		if len(token) == 6 && strings.HasPrefix(token, "<0x") && token[5] == '>' {
			run[id] = true
		}
	}
	for _, a := range f.added {
		if a.Special {
			run[a.ID] = false
		}
	}
	return run
}

// byteLevelBytes undoes GPT-2's spelling of bytes: printable Latin-1 stands for itself, the other 68 bytes are spelt
// as the characters from U+0100 on, in order.
func byteLevelBytes(token string) []byte {
	var b []byte
	for _, r := range token {
		switch {
		case r < 0x100:
			b = append(b, byte(r))
		case r <= 0x120: // bytes 0 to 32
			b = append(b, byte(r-0x100))
		case r <= 0x142: // 127 to 160
			b = append(b, byte(r-0x121+0x7f))
		case r == 0x143:
			b = append(b, 0xad)
		}
	}
	return b
}
