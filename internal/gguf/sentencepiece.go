package gguf

import (
	"cmp"
	"fmt"
	"slices"
	"unicode/utf8"
)

// pieces is what sets sentencepiece's BPE (Kudo & Richardson 2018) apart from the byte-level kind: spaces are written ▁, the
// text may get one in front, and what the vocabulary lacks falls back to bytes.
type pieces struct {
	prefix       bool // a space in front of the text, and behind special tokens
	byteFallback bool
}

// readPieces reads the metadata of sentencepiece's tokenizer. The file says no order of merges, or the one that its
// tokenizer.json had; scores give the same, as transformers converts sentencepiece's own files.
func (t *tokenizer) readPieces(m Metadata) error {
	scores, ok := m["tokenizer.ggml.scores"].([]float32)
	if !ok || len(scores) != len(t.tokens) {
		return fmt.Errorf("tokenizer.ggml.scores: not one number a token")
	}
	if t.types == nil {
		return fmt.Errorf("tokenizer.ggml.token_type: missing")
	}
	merges, err := m.Texts("tokenizer.ggml.merges")
	if err != nil {
		return err
	}
	if len(merges) > 0 {
		err = t.readMerges(merges)
	} else {
		t.merges = t.mergesByScore(scores)
	}
	if err != nil {
		return err
	}
	t.pre = preTokenizer{addBOS: true}
	t.pieces = &pieces{}
	bytes := 0
	for id := range t.tokens {
		if t.kind(id) == typeByte {
			bytes++
		}
	}
	if t.pieces.byteFallback = bytes == 256; bytes != 0 && bytes != 256 {
		return fmt.Errorf("tokenizer.ggml.token_type: %d byte tokens, 256 are wanted", bytes)
	}
	t.pieces.prefix, err = m.Bool("tokenizer.ggml.add_space_prefix", true)
	return err
}

// mergesByScore returns every way to make a token of two others, the best score first. What stands for bytes, ends a text
// or is unknown is not made of text.
func (t *tokenizer) mergesByScore(scores []float32) (merges [][2]string) {
	ids := make(map[string]int, len(t.tokens))
	for id, token := range t.tokens {
		if k := t.kind(id); k != typeControl && k != typeUnknown && k != typeByte && k != typeUnused {
			ids[token] = id
		}
	}
	type merge struct {
		left, right   int // ids
		score         float32
		before, after int // characters
	}
	var all []merge
	for id, token := range t.tokens {
		if known, ok := ids[token]; !ok || known != id {
			continue
		}
		first := len(all)
		n := utf8.RuneCountInString(token)
		at := 0
		for i := range token {
			if i > 0 {
				at++
				left, ok1 := ids[token[:i]]
				right, ok2 := ids[token[i:]]
				if ok1 && ok2 {
					all = append(all, merge{left, right, scores[id], at, n - at})
				}
			}
		}
		slices.SortFunc(all[first:], func(a, b merge) int { return cmp.Or(cmp.Compare(a.left, b.left), cmp.Compare(a.right, b.right)) })
	}
	slices.SortStableFunc(all, func(a, b merge) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(b.before, a.before), cmp.Compare(b.after, a.after))
	})
	for _, m := range all {
		merges = append(merges, [2]string{t.tokens[m.left], t.tokens[m.right]})
	}
	return merges
}

// normalizer is tokenizer.json's, spelt as Llama 2's and Gemma's have it.
func (p *pieces) normalizer() object {
	spaces := object{"type", "Replace", "pattern", object{"String", " "}, "content", "▁"}
	if !p.prefix {
		return spaces
	}
	return object{"type", "Sequence", "normalizers", []object{{"type", "Prepend", "prepend", "▁"}, spaces}}
}

func (p *pieces) decoder() object {
	steps := []object{
		{"type", "Replace", "pattern", object{"String", "▁"}, "content", " "},
		{"type", "ByteFallback"},
		{"type", "Fuse"},
	}
	if p.prefix {
		steps = append(steps, object{"type", "Strip", "content", " ", "start", 1, "stop", 0})
	}
	return object{"type", "Sequence", "decoders", steps}
}
