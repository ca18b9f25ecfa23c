package tokenizer

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type golden struct {
	Size               int
	BOS, EOS, PAD, UNK [2]any
	Cases              []struct {
		Text           string
		Special        bool
		IDs            []int32
		Offsets        [][2]int
		Decoded, Plain string
	}
}

// folders are the small tokenizers of bench/golden/files_tokenizer.py, one of each kind in use.
var folders = []string{"smollm", "llama3", "qwen2", "llama2", "unigram", "wordpiece", "literal"}

func open(t testing.TB, name string) (*Tokenizer, golden) {
	t.Helper()
	dir := filepath.Join("testdata", name)
	k, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	b, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	return k, g
}

// Ids, byte offsets, decoded text and named tokens are those of transformers' AutoTokenizer on the same folder.
func TestAutoTokenizer(t *testing.T) {
	for _, name := range folders {
		t.Run(name, func(t *testing.T) {
			k, g := open(t, name)
			if k.VocabSize() != g.Size {
				t.Errorf("size %d, want %d", k.VocabSize(), g.Size)
			}
			for role, pair := range map[string][2]any{
				"bos": {k.BOS, g.BOS}, "eos": {k.EOS, g.EOS}, "pad": {k.PAD, g.PAD}, "unk": {k.UNK, g.UNK},
			} {
				got, want := pair[0].(Special), pair[1].([2]any)
				if got.Text != want[0] || float64(got.ID) != want[1] {
					t.Errorf("%s is %v, want %v", role, got, want)
				}
			}
			for _, c := range g.Cases {
				ids, offsets, err := k.Encode(c.Text, c.Special)
				if err != nil {
					t.Errorf("%q: %v", c.Text, err)
					continue
				}
				if d := cmp.Diff(c.IDs, ids); d != "" {
					t.Errorf("%q, special %v: ids: %s", c.Text, c.Special, d)
					continue
				}
				if d := cmp.Diff(c.Offsets, offsets); d != "" {
					t.Errorf("%q, special %v: offsets: %s", c.Text, c.Special, d)
				}
				if got := k.Decode(ids); got != c.Decoded {
					t.Errorf("%q decodes to %q, want %q", c.Text, got, c.Decoded)
				}
				if got := k.DecodeSkipSpecial(ids); got != c.Plain {
					t.Errorf("%q without special tokens decodes to %q, want %q", c.Text, got, c.Plain)
				}
			}
		})
	}
}

// Generation ends at the ids of generation_config.json, else of config.json, else at the tokenizer's eos.
func TestStops(t *testing.T) {
	for name, want := range map[string][2][]int32{
		"smollm":    {{2}, {2}},
		"llama3":    {{1, 2}, {1, 2}},
		"qwen2":     {{0, 2}, {0, 2}},
		"llama2":    {{2}, {2}},
		"unigram":   {{2}, {2}},
		"wordpiece": {nil, nil},
	} {
		k, _ := open(t, name)
		if d := cmp.Diff(want, [2][]int32{k.StopIDs, k.EOSIDs}); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestRefusedText(t *testing.T) {
	k, _ := open(t, "smollm")
	for text, want := range map[string]string{
		"ab\x00c":      "NUL byte at byte 2",
		"ab\xffc":      "invalid UTF-8 at byte 2",
		"漢\xe6\xbc":    "invalid UTF-8 at byte 3",
		"\ufffd\xc0af": "invalid UTF-8 at byte 3",
	} {
		if _, _, err := k.Encode(text, false); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
	most := strings.Repeat("a ", MaxText/2)
	if _, _, err := k.Encode(most+".", false); err == nil || !strings.HasPrefix(err.Error(), "8 MiB of text, ") {
		t.Errorf("more than MaxText: got %v", err)
	}
	if ids, _, err := k.Encode(most, false); err != nil || len(ids) < MaxText/2 {
		t.Errorf("MaxText: %d tokens, %v", len(ids), err)
	}
}

// A byte that is NUL, which the library's C strings cannot carry, is decoded all the same.
func TestDecodeNUL(t *testing.T) {
	for name, token := range map[string]string{"smollm": "Ā", "llama2": "<0x00>"} {
		k, _ := open(t, name)
		id, ok := k.TokenToID(token)
		if !ok {
			t.Fatalf("%s has no %s", name, token)
		}
		a, _, err := k.Encode("Hello", false)
		if err != nil {
			t.Fatal(err)
		}
		if got := k.Decode(append(append([]int32{id}, a...), id)); got != "\x00Hello\x00" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestByteLevelBytes(t *testing.T) {
	// The spelling of all 256 bytes, by GPT-2's rule: printable bytes themselves, the others counted up from U+0100.
	next := rune(0x100)
	for b := range 256 {
		r := rune(b)
		if printable := b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae; !printable {
			r = next
			next++
		}
		if got := byteLevelBytes(string(r)); len(got) != 1 || int(got[0]) != b {
			t.Errorf("%q is %v, want byte %d", r, got, b)
		}
	}
}

// What a stream prints, joined, is the text of all tokens, for any tokens at all; and it never prints half a character.
func TestStream(t *testing.T) {
	for _, name := range folders {
		k, g := open(t, name)
		random := rand.New(rand.NewPCG(1, 2))
		var all [][]int32
		for _, c := range g.Cases {
			all = append(all, c.IDs)
		}
		for range 200 {
			ids := make([]int32, random.IntN(40))
			for i := range ids {
				ids[i] = random.Int32N(k.MaxID() + 1)
			}
			all = append(all, ids)
		}
		for _, ids := range all {
			var b strings.Builder
			s := k.NewStream()
			for _, id := range ids {
				b.WriteString(s.Next(id))
			}
			b.WriteString(s.Flush())
			if want := k.DecodeSkipSpecial(ids); b.String() != want {
				t.Errorf("%s: %v streams as %q, want %q", name, ids, b.String(), want)
			}
		}
		s, said := k.NewStream(), ""
		ids, _, _ := k.Encode("a 😀 b", false)
		for _, id := range ids {
			piece := s.Next(id)
			if strings.Contains(piece, "\ufffd") {
				t.Errorf("%s: half a character: %q", name, piece)
			}
			said += piece
		}
		if said == "" {
			t.Errorf("%s: nothing is said before the end", name)
		}
	}
}

func TestClonesRunAlongside(t *testing.T) {
	k, g := open(t, "smollm")
	var wg sync.WaitGroup
	for range 4 {
		c, err := k.Clone()
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer c.Close()
			for _, x := range g.Cases {
				if ids, _, err := c.Encode(x.Text, x.Special); err != nil || cmp.Diff(x.IDs, ids) != "" {
					t.Errorf("%q: %v, %v", x.Text, ids, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestBrokenFolders(t *testing.T) {
	const good = `{"version":"1.0","model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":[]}}`
	for _, test := range []struct{ file, content, want string }{
		{"", "", "no tokenizer.json"},
		{"tokenizer.json", "[]", "tokenizer.json: not a JSON object"},
		{"tokenizer.json", `{"model":`, "tokenizer.json: "},
		{"tokenizer.json", `{"version":"1.0"}`, "tokenizer.json: model: missing"},
		{"tokenizer.json", `{"model":{"type":"BPE","vocab":{"a":"b"},"merges":[]}}`, "tokenizer.json: model: "},
		{"tokenizer.json", `{"model":{"type":"Nonsense","vocab":{"a":0}}}`, "tokenizer.json: "},
		{"tokenizer_config.json", `{"eos_token": 3}`, "tokenizer_config.json: eos_token: "},
		{"tokenizer_config.json", `{"added_tokens_decoder": {"x": {"content": "a"}}}`, "added_tokens_decoder: a token's id is wanted, not \"x\""},
		{"special_tokens_map.json", `nonsense`, "special_tokens_map.json: "},
		{"generation_config.json", `{"eos_token_id": "a"}`, "generation_config.json: eos_token_id: "},
	} {
		dir := t.TempDir()
		write := func(name, content string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if test.file != "" {
			write("tokenizer.json", good)
			write(test.file, test.content)
		}
		k, err := Load(dir)
		if err == nil {
			k.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s %s: got %v, want %q", test.file, test.content, err, test.want)
		}
	}
}
