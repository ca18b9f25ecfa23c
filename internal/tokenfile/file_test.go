package tokenfile

import (
	"os"
	"path/filepath"
	"testing"
)

// What is wrong with a tokenizer.json is said with the file and the names in it.
func TestRefused(t *testing.T) {
	for source, want := range map[string]string{
		`{"model": {"type": "Other"}}`:                        `model: type "Other" is not known (BPE, WordPiece, WordLevel and Unigram are)`,
		`{"model": {"type": "BPE"}}`:                          `model: vocab: neither an object nor a list`,
		`{"model": {"type": "BPE", "vocab": {"a": "x"}}}`:     `model: vocab: a: a number is wanted, not "x"`,
		`{"model": {"type": "Unigram", "vocab": [[1, 0.5]]}}`: `model: vocab[0]: text is wanted, not 1`,
		`{"model": 3}`: `model: an object is wanted, not 3`,
		`{"added_tokens": [{"id": "x"}], "model": {"vocab": {}}}`: `added_tokens: [0].id: a number is wanted, not "x"`,
		`{}`: `model: missing`,
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "tokenizer.json")
		if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(dir); err == nil || err.Error() != path+": "+want {
			t.Errorf("%s: %v, want %s", source, err, want)
		}
	}
}
