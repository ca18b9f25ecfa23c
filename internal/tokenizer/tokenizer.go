// Package tokenizer turns text into token ids and back, as transformers' AutoTokenizer does on the same folder.
//
//	vocabulary     token text → id, in tokenizer.json
//	added token    a token matched in the text before the vocabulary is; a special one is skipped when decoding
//	post-processor what tokenizer.json puts around a text (a bos token, say) when special tokens are asked for
//	bos, eos, pad  the named special tokens of tokenizer_config.json
//	stop ids       the ids that end generation, of generation_config.json
//
// The work is done by Hugging Face's tokenizers library (cgo, through daulet/tokenizers). What transformers does
// outside it is done here: truncation and padding of tokenizer.json are switched off, and tokens that only
// tokenizer_config.json or special_tokens_map.json know are added. Unlike transformers 5, whose GPT2Tokenizer and
// Qwen2Tokenizer replace the file's pre-tokenizer by their own, tokenizer.json is taken at its word: it is what the
// model was trained with. clean_up_tokenization_spaces, which transformers 5 ignores for BPE, is not done for any.
package tokenizer

import (
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	lib "github.com/daulet/tokenizers"
)

// Special is a named special token. ID is -1 where the tokenizer has none, or none with an id.
type Special struct {
	Text string
	ID   int32
}

// Tokenizer is one tokenizer with its folder's special tokens. It is safe for concurrent use, but goroutines that
// share one hardly run faster than one: give each a Clone.
type Tokenizer struct {
	BOS, EOS, PAD, UNK Special

	// StopIDs are the eos_token_id of generation_config.json, else of config.json, else the tokenizer's eos:
	// where transformers' generate stops. EOSIDs are those and the tokenizer's eos. Both are ascending.
	StopIDs, EOSIDs []int32

	lib     *lib.Tokenizer
	json    []byte // what lib was made from
	options []lib.TokenizerOption
	ids     map[string]int32
	texts   map[int32]string // of tokens with a NUL, which lib cannot decode
	inRun   map[int32]bool   // with byte fallback: true for byte tokens, false for ids that are skipped
	size    int
	last    int32
	closed  bool
}

// Clone returns an independent tokenizer for another goroutine.
func (t *Tokenizer) Clone() (*Tokenizer, error) {
	c := *t
	var err error
	c.lib, err = lib.FromBytes(t.json, t.options...)
	return &c, err
}

// Close frees the library's memory. The tokenizer must not be used afterwards.
func (t *Tokenizer) Close() {
	if !t.closed {
		t.closed = true
		t.lib.Close()
	}
}

// MaxText is the bytes that are tokenized at once: far more than a model reads. The library takes some 200 bytes of memory for each.
const MaxText = 8 << 20

// long is held while a text of more than longText bytes is tokenized: of those one at a time, whatever the number of threads.
var long sync.Mutex

const longText = 512 << 10

// Encode returns the token ids of text and for each the bytes [begin, end) of text that it stands for.
// Special tokens written in text are recognised (unless tokenizer_config.json says split_special_tokens); addSpecial adds those of the post-processor, with empty
// offsets. A token that is a part of a character has the character's offsets, and a post-processor with trim_offsets
// leaves a token's leading white space out of them. Text with a NUL byte or that is not UTF-8 is refused: the library
// would cut it at the first and replace the second. So is more than MaxText.
func (t *Tokenizer) Encode(text string, addSpecial bool) (ids []int32, offsets [][2]int, err error) {
	if len(text) > MaxText {
		return nil, nil, fmt.Errorf("%d MiB of text, of which %d MiB at most are tokenized at once: split it, or drop it (curate.filter, length: characters: max)", len(text)>>20, MaxText>>20)
	}
	if len(text) > longText {
		long.Lock()
		defer long.Unlock()
	}
	if i := strings.IndexByte(text, 0); i >= 0 {
		return nil, nil, fmt.Errorf("NUL byte at byte %d", i)
	}
	if !utf8.ValidString(text) {
		return nil, nil, fmt.Errorf("invalid UTF-8 at byte %d", invalidAt(text))
	}
	e := t.lib.EncodeWithOptions(text, addSpecial, lib.WithReturnOffsets())
	if len(e.IDs) == 0 && strings.TrimSpace(text) != "" {
		// The library reports every failure so: a model without an unknown token met a character it lacks.
		return nil, nil, fmt.Errorf("tokenizer gives no tokens for %.40q", text)
	}
	ids, offsets = make([]int32, len(e.IDs)), make([][2]int, len(e.IDs))
	for i, id := range e.IDs {
		ids[i] = int32(id)
		offsets[i] = [2]int{int(e.Offsets[i][0]), int(e.Offsets[i][1])}
	}
	return ids, offsets, nil
}

func invalidAt(text string) int {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(text)
}

// Decode returns the text of ids, special tokens included. Ids that are not in the vocabulary are left out, and bytes
// that are not UTF-8 become U+FFFD.
func (t *Tokenizer) Decode(ids []int32) string { return t.decode(ids, false) }

// DecodeSkipSpecial is Decode without special tokens.
func (t *Tokenizer) DecodeSkipSpecial(ids []int32) string { return t.decode(ids, true) }

func (t *Tokenizer) decode(ids []int32, skipSpecial bool) string {
	var b strings.Builder
	run := make([]uint32, 0, len(ids))
	for _, id := range ids {
		if text, ok := t.texts[id]; ok {
			// A C string ends at a NUL: the library decodes what is before and after it.
			b.WriteString(t.lib.Decode(run, skipSpecial))
			b.WriteString(text)
			run = run[:0]
		} else if id >= 0 {
			run = append(run, uint32(id))
		}
	}
	b.WriteString(t.lib.Decode(run, skipSpecial))
	return b.String()
}

// TokenToID returns the id of the token with exactly this text, as the vocabulary spells it (Ġ for a space of a
// byte-level one).
func (t *Tokenizer) TokenToID(token string) (int32, bool) {
	id, ok := t.ids[token]
	return id, ok
}

// VocabSize returns the number of tokens, added ones included: transformers' len(tokenizer). The model's embedding
// may have more rows.
func (t *Tokenizer) VocabSize() int { return t.size }

// MaxID returns the largest id of a token. Where the vocabulary has holes it is above VocabSize.
func (t *Tokenizer) MaxID() int32 { return t.last }
