package gguf

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// tokenizer is what the metadata under tokenizer. says, checked.
type tokenizer struct {
	tokens             []string
	types              []int64
	merges             [][2]string
	pre                preTokenizer
	pieces             *pieces // sentencepiece's; nil for byte-level BPE
	addBOS, addEOS     bool
	bos, eos, unk, pad int64   // ids, -1 for none
	stops              []int64 // ids that end a generation, eos first
	template           string
}

// Token types of llama.cpp.
const (
	typeNormal      = 1
	typeUnknown     = 2
	typeControl     = 3
	typeUserDefined = 4
	typeUnused      = 5
	typeByte        = 6
)

// preTokenizer is how text is cut before merges apply.
type preTokenizer struct {
	name         string // llama.cpp's for it
	split        string // a regular expression whose matches are kept apart; "" for GPT-2's own
	digits       bool   // each digit apart, before anything else
	nfc          bool   // normalise to NFC first
	ignoreMerges bool   // a piece that is a token whole is that token
	addBOS       bool   // where the file does not say
}

// The pre-tokenizers, in the spelling of the tokenizer.json of the model that each comes from.
var (
	gpt2   = preTokenizer{name: "gpt-2"}
	smollm = preTokenizer{name: "smollm", digits: true}
	llama3 = preTokenizer{name: "llama-bpe", ignoreMerges: true, addBOS: true,
		split: `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`}
	dbrx  = preTokenizer{name: "dbrx", split: llama3.split}
	qwen2 = preTokenizer{name: "qwen2", nfc: true,
		split: `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`}
	tekken = preTokenizer{name: "tekken", ignoreMerges: true,
		split: `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+` +
			`|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*` +
			`|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`}
)

// preTokenizers by tokenizer.ggml.pre.
var preTokenizers = map[string]preTokenizer{
	"gpt-2": gpt2, "olmo": gpt2, "dbrx": dbrx, "smollm": smollm, "starcoder": smollm, "refact": smollm,
	"llama-bpe": llama3, "llama3": llama3, "llama-v3": llama3, "smaug-bpe": llama3,
	"qwen2": qwen2, "deepseek-r1-qwen": qwen2, "tekken": tekken,
}

// readTokenizer reads the metadata of a tokenizer: byte-level BPE, or sentencepiece's.
func readTokenizer(m Metadata, architecture string) (*tokenizer, error) {
	model, err := m.Text("tokenizer.ggml.model")
	if err != nil {
		return nil, err
	}
	switch model {
	case "gpt2", "llama":
	case "":
		return nil, fmt.Errorf("tokenizer.ggml.model: missing: the file has no tokenizer")
	default:
		return nil, fmt.Errorf("tokenizer.ggml.model: %q is not supported: load the model's Hugging Face folder", model)
	}
	t := &tokenizer{}
	if t.tokens, err = m.Texts("tokenizer.ggml.tokens"); err != nil {
		return nil, err
	}
	if err := t.checkTokens(); err != nil {
		return nil, err
	}
	if v, ok := m["tokenizer.ggml.token_type"]; ok {
		if t.types, ok = v.([]int64); !ok || len(t.types) != len(t.tokens) {
			return nil, fmt.Errorf("tokenizer.ggml.token_type: not one integer a token")
		}
	}
	if model == "llama" {
		err = t.readPieces(m)
	} else {
		err = t.readBytes(m, architecture)
	}
	if err != nil {
		return nil, err
	}
	if t.template, err = m.Text("tokenizer.chat_template"); err != nil {
		return nil, err
	}
	if !utf8.ValidString(t.template) {
		return nil, fmt.Errorf("tokenizer.chat_template: invalid UTF-8")
	}
	return t, t.readSpecial(m)
}

// readBytes reads what byte-level BPE has.
func (t *tokenizer) readBytes(m Metadata, architecture string) error {
	merges, err := m.Texts("tokenizer.ggml.merges")
	if err != nil {
		return err
	}
	if err := t.readMerges(merges); err != nil {
		return err
	}
	t.pre, err = t.choosePre(m, architecture)
	return err
}

func (t *tokenizer) checkTokens() error {
	if len(t.tokens) == 0 {
		return fmt.Errorf("tokenizer.ggml.tokens: missing")
	}
	seen := make(map[string]int, len(t.tokens))
	for id, token := range t.tokens {
		if !utf8.ValidString(token) {
			return fmt.Errorf("tokenizer.ggml.tokens[%d]: invalid UTF-8", id)
		}
		if other, twice := seen[token]; twice {
			return fmt.Errorf("tokenizer.ggml.tokens[%d]: %q is token %d too", id, token, other)
		}
		seen[token] = id
	}
	return nil
}

func (t *tokenizer) readMerges(merges []string) error {
	if len(merges) == 0 {
		return fmt.Errorf("tokenizer.ggml.merges: missing")
	}
	known := make(map[string]bool, len(t.tokens))
	for _, token := range t.tokens {
		known[token] = true
	}
	for i, m := range merges {
		a, b, ok := strings.Cut(m, " ")
		if !ok || strings.Contains(b, " ") {
			return fmt.Errorf("tokenizer.ggml.merges[%d]: %q is not two tokens", i, m)
		}
		for _, token := range []string{a, b, a + b} {
			if !known[token] {
				return fmt.Errorf("tokenizer.ggml.merges[%d]: %q is not a token", i, token)
			}
		}
		t.merges = append(t.merges, [2]string{a, b})
	}
	return nil
}

// choosePre finds the pre-tokenizer. Files from before llama.cpp wrote it down say nothing or "default": their
// architecture tells, and Llama 3 by its first special token.
func (t *tokenizer) choosePre(m Metadata, architecture string) (preTokenizer, error) {
	name, err := m.Text("tokenizer.ggml.pre")
	if err != nil {
		return preTokenizer{}, err
	}
	if p, ok := preTokenizers[name]; ok {
		return p, nil
	}
	switch {
	case name != "" && name != "default":
		return preTokenizer{}, fmt.Errorf("tokenizer.ggml.pre: %q is not supported: load the model's Hugging Face folder", name)
	case architecture == "qwen2", architecture == "qwen3":
		return qwen2, nil
	case slices.Contains(t.tokens, "<|begin_of_text|>"):
		return llama3, nil
	}
	return gpt2, nil
}

func (t *tokenizer) readSpecial(m Metadata) error {
	var eot, eom int64
	for key, id := range map[string]*int64{"bos": &t.bos, "eos": &t.eos, "unknown": &t.unk, "padding": &t.pad, "eot": &eot, "eom": &eom} {
		key = "tokenizer.ggml." + key + "_token_id"
		n, found, err := m.Int(key)
		if err != nil {
			return err
		}
		if !found || n == 0xffffffff { // llama.cpp's own "none"
			n = -1
		}
		if n < -1 || n >= int64(len(t.tokens)) {
			return fmt.Errorf("%s: %d, of %d tokens", key, n, len(t.tokens))
		}
		*id = n
	}
	for _, id := range []int64{t.eos, eot, eom} {
		if id >= 0 && !slices.Contains(t.stops, id) {
			t.stops = append(t.stops, id)
		}
	}
	var err error
	if t.addBOS, err = m.Bool("tokenizer.ggml.add_bos_token", t.pre.addBOS); err != nil {
		return err
	}
	t.addBOS = t.addBOS && t.bos >= 0
	t.addEOS, err = m.Bool("tokenizer.ggml.add_eos_token", false)
	t.addEOS = t.addEOS && t.eos >= 0
	return err
}

func (t *tokenizer) kind(id int) int64 {
	if t.types == nil {
		return typeNormal
	}
	return t.types[id]
}
