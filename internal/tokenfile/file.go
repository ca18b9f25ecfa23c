// Package tokenfile reads the tokenizer of a Hugging Face folder as data: what transformers' AutoTokenizer makes of its files,
// without the library that tokenizes.
//
//	vocabulary    token text → id, in tokenizer.json
//	added token   a token matched in the text before the vocabulary is; a special one is skipped when decoding
//	role          what a special token is for: bos_token, eos_token, …
//	stop ids      the ids that end generation, of generation_config.json
package tokenfile

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/hone-ml/hone/internal/ordjson"
)

// Added is a token of tokenizer.json's added_tokens.
type Added struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	Lstrip     bool   `json:"lstrip"`
	Rstrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// File is tokenizer.json with the tokens that only the files beside it name. Other members are as they were written.
type File struct {
	Path    string
	Added   []Added
	IDs     map[string]int32 // of every token, added ones too
	Next    int32            // above every id
	Special map[string]Added // by role: bos_token, …, and extra ones; some may have no id
	Split   bool             // special tokens in a text are text (split_special_tokens)

	members []member
}

type member struct {
	name  string
	value jsontext.Value
}

// Read reads the tokenizer of a folder. Only tokenizer.json has to be there. Errors name the file.
func Read(dir string) (*File, error) {
	f := &File{Path: filepath.Join(dir, "tokenizer.json")}
	b, err := readBounded(f.Path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: no tokenizer.json: only tokenizers that the tokenizers library reads are known; save one with AutoTokenizer.from_pretrained(…).save_pretrained(…)", dir)
	}
	if err != nil {
		return nil, err
	}
	if err := f.parse(b); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	n, err := readNames(dir)
	if err != nil {
		return nil, err
	}
	for _, a := range n.added {
		f.add(a)
	}
	for _, role := range n.order {
		if a, named := n.special[role]; named && !f.IsAdded(a.Content) {
			a.Special = true
			f.add(a)
		}
	}
	f.Special, f.Split = n.special, n.split
	return f, nil
}

func (f *File) parse(b []byte) error {
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
			err = ordjson.Explain(m.value, json.Unmarshal(m.value, &f.Added))
		case "model":
			f.IDs, err = vocabulary(m.value)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	if f.IDs == nil {
		return errors.New("model: missing")
	}
	for _, a := range f.Added {
		f.IDs[a.Content] = a.ID
	}
	for _, id := range f.IDs {
		f.Next = max(f.Next, id+1)
	}
	return nil
}

// Member returns a member of tokenizer.json as it was written, nil where it is not there.
func (f *File) Member(name string) jsontext.Value {
	for _, m := range f.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// vocabulary returns token → id of a model: an object (BPE, WordPiece, WordLevel) or a list of pairs (Unigram).
func vocabulary(model jsontext.Value) (map[string]int32, error) {
	var m struct {
		Type  jsontext.Value `json:"type"`
		Vocab jsontext.Value `json:"vocab"`
	}
	if err := json.Unmarshal(model, &m, jsontext.AllowDuplicateNames(true)); err != nil {
		return nil, ordjson.Explain(model, err)
	}
	ids := map[string]int32{}
	switch m.Vocab.Kind() {
	case '[':
	case '{':
		if err := json.Unmarshal(m.Vocab, &ids, jsontext.AllowDuplicateNames(true)); err != nil {
			return nil, fmt.Errorf("vocab: %w", ordjson.Explain(m.Vocab, err))
		}
		return ids, nil
	default:
		switch string(m.Type) {
		case "", `"BPE"`, `"WordPiece"`, `"WordLevel"`, `"Unigram"`:
			return nil, errors.New("vocab: neither an object nor a list")
		}
		return nil, fmt.Errorf("type %s is not known (BPE, WordPiece, WordLevel and Unigram are)", m.Type)
	}
	var list [][]jsontext.Value
	if err := json.Unmarshal(m.Vocab, &list); err != nil {
		return nil, fmt.Errorf("vocab: %w", ordjson.Explain(m.Vocab, err))
	}
	for i, pair := range list {
		var token string
		if len(pair) == 0 {
			return nil, fmt.Errorf("vocab[%d]: empty", i)
		}
		if err := json.Unmarshal(pair[0], &token); err != nil {
			return nil, fmt.Errorf("vocab[%d]: %w", i, ordjson.Explain(pair[0], err))
		}
		ids[token] = int32(i)
	}
	return ids, nil
}

// IsAdded tells whether an added token has this text.
func (f *File) IsAdded(content string) bool {
	return slices.ContainsFunc(f.Added, func(a Added) bool { return a.Content == content })
}

// add makes a an added token: at its id in the vocabulary where it is there, else at the next free one.
func (f *File) add(a Added) {
	if a.Content == "" {
		return
	}
	id, known := f.IDs[a.Content]
	if !known {
		id = f.Next
		f.Next++
		f.IDs[a.Content] = id
	}
	a.ID = id
	for i := range f.Added {
		if f.Added[i].Content == a.Content {
			f.Added[i] = a
			return
		}
	}
	f.Added = append(f.Added, a)
}

// Encode returns tokenizer.json with the added tokens, without truncation and padding.
func (f *File) Encode() ([]byte, error) {
	added, err := json.Marshal(f.Added)
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
