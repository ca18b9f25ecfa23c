package tokenizer

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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

// names is what tokenizer_config.json and special_tokens_map.json say about special tokens.
type names struct {
	added   []addedToken          // of added_tokens_decoder, by id
	special map[string]addedToken // by role: bos_token, …, and extra ones
	order   []string              // roles, in the order in which transformers adds them
	split   bool                  // special tokens in a text are text (split_special_tokens)
}

// roles that transformers knows by name, in its order.
var roles = []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

func readNames(dir string) (*names, error) {
	n := &names{special: map[string]addedToken{}, order: slices.Clone(roles)}
	path := filepath.Join(dir, "tokenizer_config.json")
	config, err := readObject(path)
	if err != nil {
		return nil, err
	}
	if err := n.readAdded(config["added_tokens_decoder"]); err != nil {
		return nil, fmt.Errorf("%s: added_tokens_decoder: %w", path, err)
	}
	if err := n.readRoles(config); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	n.split = config["split_special_tokens"].Kind() == 't'
	if len(n.added) == 0 {
		// The map is the older place for the same names; where tokens are listed with their ids it is not read.
		path := filepath.Join(dir, "special_tokens_map.json")
		m, err := readObject(path)
		if err != nil {
			return nil, err
		}
		if err := n.readRoles(m); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return n, nil
}

func (n *names) readAdded(v jsontext.Value) error {
	if v == nil {
		return nil
	}
	var byID map[string]addedToken
	if err := json.Unmarshal(v, &byID); err != nil {
		return err
	}
	for key, a := range byID {
		id, err := strconv.ParseInt(key, 10, 32)
		if err != nil {
			return err
		}
		a.ID = int32(id)
		n.added = append(n.added, a)
	}
	slices.SortFunc(n.added, func(a, b addedToken) int { return int(a.ID) - int(b.ID) })
	return nil
}

func (n *names) readRoles(config map[string]jsontext.Value) error {
	for _, role := range roles {
		if v, ok := config[role]; ok {
			a, err := namedToken(v)
			if err != nil {
				return fmt.Errorf("%s: %w", role, err)
			}
			if a == nil {
				delete(n.special, role)
			} else {
				n.special[role] = *a
			}
		}
	}
	for _, list := range []string{"extra_special_tokens", "additional_special_tokens"} {
		v := config[list]
		if v.Kind() != '[' {
			continue
		}
		var tokens []jsontext.Value
		if err := json.Unmarshal(v, &tokens); err != nil {
			return fmt.Errorf("%s: %w", list, err)
		}
		for i, v := range tokens {
			role := fmt.Sprintf("%s[%d]", list, i)
			a, err := namedToken(v)
			if err != nil || a == nil {
				return fmt.Errorf("%s: not a token: %w", role, err)
			}
			if _, known := n.special[role]; !known {
				n.order = append(n.order, role)
			}
			n.special[role] = *a
		}
	}
	return nil
}

// namedToken reads a token that is a string or an object with content; null is none.
func namedToken(v jsontext.Value) (*addedToken, error) {
	var a addedToken
	switch v.Kind() {
	case 'n':
		return nil, nil
	case '"':
		return &a, json.Unmarshal(v, &a.Content)
	}
	return &a, json.Unmarshal(v, &a)
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
