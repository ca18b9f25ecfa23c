package model

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
	"github.com/hone-ml/hone/stages/stagetest"
)

var update = flag.Bool("update", false, "rewrite testdata/implementations.json")

// implementations.json pins the bytes that each kind makes of a toy. A change of them needs a new implementation version
// in schemas/kinds.go, or else a store would hand out what an older hone made for what this one would make.
func TestImplementations(t *testing.T) {
	type pin struct {
		Version int    `json:"version"`
		SHA256  string `json:"sha256"`
	}
	chat := chatModel(t)
	got := map[string]pin{}
	for name, toy := range map[string]struct {
		job   *job.Job
		stage stages.Stage
	}{
		"model.load folder":   {loadJob(t, loadable(t, "qwen2"), "auto"), Load},
		"model.load bfloat16": {loadJob(t, loadable(t, "llama-tied"), "bfloat16"), Load},
		"model.load GGUF":     {loadJob(t, absolute(t, ggufs, "llama3.gguf"), "auto"), Load},
		"model.load fresh":    {freshJob(t, freshConfig, 7, "smollm"), Load},
		"template.set":        {templateJob(t, chat, `, "template": "{{ messages }}", "specialTokens": {"eos": "<|endoftext|>"}, "generation": {"temperature": 0.7}`), TemplateSet},
		"export hf":           {exportJob(t, job.Input{Kind: "model", Path: chat}, "hf"), Export},
		"export peft":         {exportJob(t, job.Input{Kind: "adapter", Path: filepath.Join(toys, "llama-tied", "adapter-all"), Base: &job.Input{Kind: "model", Path: chat}}, "peft"), Export},
	} {
		r := stagetest.Run(t.Context(), t, toy.job, toy.stage)
		if r.Code != 0 {
			t.Fatalf("%s: %+v", name, r.Last())
		}
		for port := range toy.job.Out {
			got[name] = pin{schemas.Implementation(toy.job.Kind), digest(t, r.Out(port))}
		}
	}
	path := filepath.Join("testdata", "implementations.json")
	if *update {
		b, err := json.MarshalIndent(got, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		write(t, "testdata", "implementations.json", string(b)+"\n")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]pin
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	for name, g := range got {
		switch w := want[name]; {
		case g == w:
		case g.Version == w.Version:
			t.Errorf("%s makes other bytes than version %d did: raise its version in schemas/kinds.go, then run this test with -update", name, w.Version)
		default:
			t.Errorf("%s is of version %d, %s has %d: run this test with -update", name, g.Version, path, w.Version)
		}
	}
	if len(want) != len(got) {
		t.Errorf("%s has %d toys, the test %d: run it with -update", path, len(want), len(got))
	}
}

// digest is the hash of a folder's names and contents.
func digest(t *testing.T, dir string) string {
	t.Helper()
	h := sha256.New()
	for _, name := range list(t, dir) {
		content := read(t, dir, name)
		fmt.Fprintf(h, "%s %d\n%s", name, len(content), content)
	}
	return hex.EncodeToString(h.Sum(nil))
}
