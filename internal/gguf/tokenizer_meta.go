package gguf

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hone-ml/hone/internal/chat"
	"github.com/hone-ml/hone/internal/tokenfile"
)

// bpe is tokenizer.json's model.
type bpe struct {
	Type         string         `json:"type"`
	Unknown      string         `json:"unk_token"`
	Prefix       string         `json:"continuing_subword_prefix"`
	Suffix       string         `json:"end_of_word_suffix"`
	ByteFallback bool           `json:"byte_fallback"`
	IgnoreMerges bool           `json:"ignore_merges"`
	Merges       jsontext.Value `json:"merges"` // "a b" or ["a", "b"]
}

// tokenizerMetadata returns what a GGUF file says of the tokenizer in a Hugging Face folder, whose embedding has this many
// rows; rows without a token get placeholders that no text gives, as llama.cpp's converter names them.
func tokenizerMetadata(dir string, rows int64) ([]pair, error) {
	f, err := tokenfile.Read(dir)
	if err != nil {
		return nil, err
	}
	meta, err := describe(f, dir, rows)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	sources, err := chat.Sources(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		key := "tokenizer.chat_template"
		if name != "default" {
			key += "." + name
		}
		meta = append(meta, pair{key, sources[name]})
	}
	return meta, nil
}

func describe(f *tokenfile.File, dir string, rows int64) ([]pair, error) {
	var m bpe
	if err := json.Unmarshal(f.Member("model"), &m, jsontext.AllowDuplicateNames(true)); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if m.Type != "BPE" || m.Prefix != "" || m.Suffix != "" {
		return nil, fmt.Errorf("model: %s is not supported in GGUF: byte-level BPE and sentencepiece's BPE are", m.Type)
	}
	if n := int64(f.Next); n > rows {
		return nil, fmt.Errorf("%d ids, the embedding of config.json has %d rows (vocab_size)", n, rows)
	}
	merges, err := m.merges()
	if err != nil {
		return nil, err
	}
	normalizers, err1 := components(f, "normalizer")
	pre, err2 := components(f, "pre_tokenizer")
	post, err3 := components(f, "post_processor")
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	byteLevel := slices.ContainsFunc(pre, func(c component) bool { return c.Type == "ByteLevel" })
	kind, name, prefix := "llama", "default", false
	if byteLevel {
		kind = "gpt2"
		name, err = findPre(normalizers, pre, m.IgnoreMerges)
	} else {
		prefix, err = findPrefix(normalizers, pre)
	}
	if err != nil {
		return nil, err
	}
	tokens, types, err := vocabulary(f, &m, rows, byteLevel)
	if err != nil {
		return nil, err
	}
	meta := []pair{{"tokenizer.ggml.model", kind}, {"tokenizer.ggml.pre", name}, {"tokenizer.ggml.add_space_prefix", prefix},
		{"tokenizer.ggml.tokens", tokens}}
	if !byteLevel {
		meta = append(meta, pair{"tokenizer.ggml.scores", scores(tokens, types, merges)})
	}
	meta = append(meta, pair{"tokenizer.ggml.token_type", types}, pair{"tokenizer.ggml.merges", merges})
	ids, err := specialIDs(f, dir, post)
	return append(meta, ids...), err
}

func (m *bpe) merges() ([]string, error) {
	var texts []string
	if json.Unmarshal(m.Merges, &texts) == nil {
		return texts, nil
	}
	var pairs [][2]string
	if err := json.Unmarshal(m.Merges, &pairs); err != nil {
		return nil, fmt.Errorf("model: merges: %w", err)
	}
	joined := make([]string, 0, len(pairs))
	for i, p := range pairs {
		if strings.Contains(p[0]+p[1], " ") {
			return nil, fmt.Errorf("model: merges[%d]: %q: GGUF has no way to write a token with a space in a merge", i, p)
		}
		joined = append(joined, p[0]+" "+p[1])
	}
	return joined, nil
}

// vocabulary returns the token of each row of the embedding and its type.
func vocabulary(f *tokenfile.File, m *bpe, rows int64, byteLevel bool) (tokens []string, types []int32, err error) {
	tokens, types = make([]string, rows), make([]int32, rows)
	for text, id := range f.IDs {
		if id < 0 || tokens[id] != "" {
			return nil, nil, fmt.Errorf("model: vocab: %q and %q are both token %d", min(text, tokens[id]), max(text, tokens[id]), id)
		}
		tokens[id], types[id] = text, typeNormal
		if !byteLevel && len(text) == 6 && strings.HasPrefix(text, "<0x") && text[5] == '>' {
			types[id] = typeByte
		}
	}
	for _, a := range f.Added {
		types[a.ID] = typeUserDefined
		if a.Special {
			types[a.ID] = typeControl
		} else if !byteLevel { // llama.cpp finds it in the text, where a space is one
			tokens[a.ID] = strings.ReplaceAll(a.Content, "▁", " ")
		}
	}
	if id, ok := f.IDs[m.Unknown]; ok && m.Unknown != "" && !byteLevel {
		types[id] = typeUnknown
	}
	for id := range tokens {
		if types[id] == 0 {
			tokens[id], types[id] = fmt.Sprintf("[PAD%d]", id), typeUnused
		}
		if _, taken := f.IDs[tokens[id]]; taken && types[id] == typeUnused {
			return nil, nil, fmt.Errorf("model: vocab: %q is a token, and the name of row %d, which has none", tokens[id], id)
		}
	}
	return tokens, types, nil
}

// scores ranks tokens by the merge that makes them: sentencepiece joins first what has the highest score.
func scores(tokens []string, types []int32, merges []string) []float32 {
	rank := make(map[string]int, len(merges))
	for i, m := range slices.Backward(merges) {
		rank[strings.Replace(m, " ", "", 1)] = i
	}
	list := make([]float32, len(tokens))
	for id, token := range tokens {
		r, ok := rank[token]
		switch {
		case types[id] != typeNormal:
		case ok:
			list[id] = -float32(r)
		default: // a character: nothing makes it
			list[id] = -float32(len(merges))
		}
	}
	return list
}

// specialIDs returns the ids of special tokens, and which are put around a text.
func specialIDs(f *tokenfile.File, dir string, post []component) (meta []pair, err error) {
	before, after, err := around(post)
	if err != nil {
		return nil, err
	}
	id := func(text string) int32 {
		if n, ok := f.IDs[text]; ok {
			return n
		}
		return -1
	}
	bos, eos := f.Special["bos_token"].Content, f.Special["eos_token"].Content
	if bos == "" {
		bos = before
	}
	if eos == "" {
		eos = after
	}
	if before != "" && before != bos || after != "" && after != eos {
		return nil, fmt.Errorf("post_processor: it puts %q before and %q after a text: GGUF can say that of bos (%q) and eos (%q) alone", before, after, bos, eos)
	}
	stops, err := tokenfile.StopIDs(dir)
	if err != nil {
		return nil, err
	}
	end := id(eos)
	if len(stops) > 0 && !slices.Contains(stops, end) {
		end = stops[0]
	}
	stops = slices.DeleteFunc(stops, func(n int32) bool { return n == end })
	if len(stops) > 2 {
		return nil, fmt.Errorf("%d tokens end an answer, GGUF has a place for three: template.set's generation: eos_token_id changes them", len(stops)+1)
	}
	extra := append(stops, -1, -1)
	for _, role := range []struct {
		key string
		id  int32
	}{{"bos", id(bos)}, {"eos", end}, {"eot", extra[0]}, {"eom", extra[1]}, {"unknown", id(f.Special["unk_token"].Content)},
		{"padding", id(f.Special["pad_token"].Content)}} {
		if role.id >= 0 {
			meta = append(meta, pair{"tokenizer.ggml." + role.key + "_token_id", uint32(role.id)})
		}
	}
	return append(meta, pair{"tokenizer.ggml.add_bos_token", before != ""}, pair{"tokenizer.ggml.add_eos_token", after != ""}), nil
}
