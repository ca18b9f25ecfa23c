package gguf

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"

	"github.com/hone-ml/hone/internal/tokenfile"
)

// component is a step of tokenizer.json's normalizer, pre_tokenizer or post_processor, with the fields of those that can be
// said in GGUF.
type component struct {
	Type             string         `json:"type"`
	Pattern          jsontext.Value `json:"pattern"`
	Content          string         `json:"content"`
	Behavior         string         `json:"behavior"`
	Invert           bool           `json:"invert"`
	AddPrefixSpace   bool           `json:"add_prefix_space"`
	UseRegex         *bool          `json:"use_regex"`
	IndividualDigits bool           `json:"individual_digits"`
	Prepend          string         `json:"prepend"`
	Replacement      string         `json:"replacement"`
	PrependScheme    string         `json:"prepend_scheme"`
	Split            *bool          `json:"split"`
	Single           []piece        `json:"single"`

	Normalizers   []component `json:"normalizers"`
	PreTokenizers []component `json:"pretokenizers"`
	Processors    []component `json:"processors"`
}

// piece is a part of a TemplateProcessing.
type piece struct {
	SpecialToken *struct {
		ID string `json:"id"`
	}
	Sequence *struct {
		ID string `json:"id"`
	}
}

// pattern returns the regular expression or the text of a pattern.
func (c *component) pattern() (regex, text string) {
	var p struct{ Regex, String string }
	if json.Unmarshal(c.Pattern, &p) != nil {
		return "", ""
	}
	return p.Regex, p.String
}

// components reads a member of tokenizer.json as its steps, without the sequences that hold them.
func components(f *tokenfile.File, member string) ([]component, error) {
	v := f.Member(member)
	if v == nil || v.Kind() == 'n' {
		return nil, nil
	}
	var c component
	if err := json.Unmarshal(v, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", member, err)
	}
	return flatten(c), nil
}

func flatten(c component) (all []component) {
	if c.Type != "Sequence" {
		return []component{c}
	}
	for _, list := range [][]component{c.Normalizers, c.PreTokenizers, c.Processors} {
		for _, inner := range list {
			all = append(all, flatten(inner)...)
		}
	}
	return all
}

// findPre finds llama.cpp's name of what a byte-level tokenizer cuts text by. llama.cpp does not normalise to NFC where
// Qwen does; all else is as it is here, or an error.
func findPre(normalizers, pre []component, ignoreMerges bool) (string, error) {
	for _, c := range normalizers {
		if c.Type != "NFC" {
			return "", fmt.Errorf("normalizer: llama.cpp has no %s before byte-level BPE", c.Type)
		}
	}
	found := preTokenizer{ignoreMerges: ignoreMerges}
	regex := false
	for i, c := range pre {
		last := i == len(pre)-1
		switch split, _ := c.pattern(); {
		case c.Type == "Digits" && c.IndividualDigits && i == 0 && !last:
			found.digits = true
		case c.Type == "Split" && c.Behavior == "Isolated" && !c.Invert && split != "" && found.split == "" && !last:
			found.split = split
		case c.Type == "ByteLevel" && !c.AddPrefixSpace && last:
			regex = c.UseRegex == nil || *c.UseRegex
		default:
			return "", fmt.Errorf("pre_tokenizer: llama.cpp has no name for one with %s in this place", c.Type)
		}
	}
	for _, known := range []preTokenizer{gpt2, smollm, llama3, dbrx, qwen2, tekken} {
		if found.split == known.split && found.digits == known.digits && found.ignoreMerges == known.ignoreMerges && regex == (known.split == "") {
			return known.name, nil
		}
	}
	return "", errors.New("pre_tokenizer: llama.cpp has no name for this way to cut text (GPT-2, SmolLM, Llama 3, DBRX, Qwen2 and Tekken are known)")
}

// findPrefix tells whether a sentencepiece tokenizer puts a space before a text. What sentencepiece would not do is an
// error.
func findPrefix(normalizers, pre []component) (prefix bool, err error) {
	const space = "▁"
	replaces := false
	for _, c := range normalizers {
		_, text := c.pattern()
		switch {
		case c.Type == "Prepend" && c.Prepend == space:
			prefix = true
		case c.Type == "Replace" && text == " " && c.Content == space:
			replaces = true
		default:
			return false, fmt.Errorf("normalizer: a sentencepiece tokenizer in GGUF has no %s", c.Type)
		}
	}
	for _, c := range pre {
		_, text := c.pattern()
		switch {
		case c.Type == "Metaspace" && c.Replacement == space && c.Split != nil && !*c.Split && !replaces:
			replaces, prefix = true, c.PrependScheme != "never"
		case c.Type == "Split" && text == " " && replaces: // there is no space left to cut at; Gemma has it
		default:
			return false, fmt.Errorf("pre_tokenizer: a sentencepiece tokenizer in GGUF has no such %s", c.Type)
		}
	}
	if !replaces {
		return false, errors.New("normalizer: neither byte-level nor sentencepiece, which spells a space ▁: GGUF has no such tokenizer")
	}
	return prefix, nil
}

// around finds the tokens that the post-processor puts before and after a text, "" for none.
func around(post []component) (before, after string, err error) {
	for _, c := range post {
		switch c.Type {
		case "ByteLevel":
			continue
		case "TemplateProcessing":
		default:
			return "", "", fmt.Errorf("post_processor: GGUF has no %s", c.Type)
		}
		text := false
		for _, p := range c.Single {
			switch {
			case p.Sequence != nil && !text:
				text = true
			case p.SpecialToken != nil && !text && before == "":
				before = p.SpecialToken.ID
			case p.SpecialToken != nil && text && after == "":
				after = p.SpecialToken.ID
			default:
				return "", "", errors.New("post_processor: GGUF can put one token before a text and one after it, no more")
			}
		}
	}
	return before, after, nil
}
