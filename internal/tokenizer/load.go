package tokenizer

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	lib "github.com/daulet/tokenizers"

	"github.com/hone-ml/hone/internal/tokenfile"
)

// Load reads the tokenizer of a Hugging Face folder. Only tokenizer.json has to be there. Errors name the file.
func Load(dir string) (*Tokenizer, error) {
	file, err := tokenfile.Read(dir)
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{ids: file.IDs, size: len(file.IDs), last: file.Next - 1}
	if file.Split {
		t.options = append(t.options, lib.WithEncodeSpecialTokens())
	}
	if t.json, err = file.Encode(); err != nil {
		return nil, fmt.Errorf("%s: %w", file.Path, err)
	}
	if t.lib, err = lib.FromBytes(t.json, t.options...); err != nil {
		return nil, fmt.Errorf("%s: %s", file.Path, strings.TrimPrefix(err.Error(), "Failed to create tokenizer from bytes: "))
	}
	t.texts, t.inRun = withNUL(file), inRun(file)
	for role, s := range map[string]*Special{"bos_token": &t.BOS, "eos_token": &t.EOS, "pad_token": &t.PAD, "unk_token": &t.UNK} {
		*s = Special{ID: -1}
		if a, ok := file.Special[role]; ok {
			s.Text = a.Content
			if id, ok := file.IDs[a.Content]; ok {
				s.ID = id
			}
		}
	}
	if t.StopIDs, err = tokenfile.StopIDs(dir); err != nil {
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

// withNUL returns the decoded texts of the tokens that hold a NUL byte: Ā in byte-level vocabularies, <0x00> in those
// with byte fallback.
func withNUL(f *tokenfile.File) map[int32]string {
	byteLevel := bytes.Contains(f.Member("decoder"), []byte(`"ByteLevel"`))
	texts := map[int32]string{}
	for token, id := range f.IDs {
		switch {
		case token == "<0x00>":
			texts[id] = "\x00"
		case byteLevel && strings.ContainsRune(token, 'Ā') && !f.IsAdded(token):
			texts[id] = strings.ToValidUTF8(string(byteLevelBytes(token)), "\uFFFD")
		}
	}
	return texts
}

// inRun returns for byte tokens true, and false for ids that are skipped and so end no run: special tokens, and holes in
// the vocabulary. It is nil for a tokenizer without byte fallback.
func inRun(f *tokenfile.File) map[int32]bool {
	if !bytes.Contains(f.Member("decoder"), []byte(`"ByteFallback"`)) {
		return nil
	}
	run := map[int32]bool{}
	for id := range f.Next {
		run[id] = false
	}
	for token, id := range f.IDs {
		delete(run, id)
		if len(token) == 6 && strings.HasPrefix(token, "<0x") && token[5] == '>' {
			run[id] = true
		}
	}
	for _, a := range f.Added {
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
