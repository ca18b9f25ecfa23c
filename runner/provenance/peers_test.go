package provenance

import (
	"bytes"
	"crypto"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The hub's library reads the card, and in-toto's verifies the envelopes, as they would anybody's. HONE_PEERS names a Python that
// has both.
func TestPeers(t *testing.T) {
	python := os.Getenv("HONE_PEERS")
	if python == "" {
		t.Skip("HONE_PEERS is not set")
	}
	for name, private := range map[string]crypto.Signer{"ECDSA": ellipticKey(t), "ed25519": edwardsKey(t)} {
		h, made := tuned(t)
		l := traced(t, h, made)
		_, bare, public := keyFiles(t, private, "")
		key, err := PrivateKey(bare, nil)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		card, err := l.Facts(h.Store, "", func(string, string) string { return "apache-2.0" }).Card()
		if err != nil {
			t.Fatal(err)
		}
		bundle, err := Bundle(l.Statements(nil, exported), key)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "README.md"), string(card))
		write(t, filepath.Join(dir, File), string(bundle))
		cmd := exec.Command(python, "../../bench/peers/provenance_check.py", dir, public)
		cmd.Env = append(os.Environ(), "HF_HUB_OFFLINE=1")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, &stderr)
		}
		var got any
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{
			"base_model": repo, "relation": "adapter", "library": "peft", "license": "apache-2.0", "tags": []any{"hone", "lora", "sft"},
			"results": []any{[]any{"sql", "exact_match", 0.625}, []any{"text", "perplexity", 12.5}}, "text": "# p/tune",
			"statements": []any{"hone export", "train.sft", "model.load", "curate.filter", "data.load"}, "files": []any{"adapter_model.safetensors"},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}
