package sample

import (
	"context"
	"os"
	"slices"
	"testing"

	"github.com/hone-ml/hone/internal/gguf"
	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/tensor"
	"github.com/hone-ml/hone/internal/tokenizer"
)

// Gemma 3 270M out of a quantised file: sentencepiece's ids, and transformers' tokens, one sequence beyond the window.
func TestGreedyGemma3(t *testing.T) {
	file := os.Getenv("HONE_GEMMA3")
	if file == "" {
		t.Skip("HONE_GEMMA3 names no GGUF file of Gemma 3 270M")
	}
	dir := t.TempDir()
	if err := gguf.Convert(context.Background(), file, dir, "float32", nil); err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Texts []struct {
			Text string
			IDs  []int32
		}
		Prompts []struct{ Prompt, Completion []int32 }
	}
	readJSON(t, "testdata/gemma3.json", &golden)
	if len(golden.Prompts) < 5 || len(golden.Texts) < 10 {
		t.Fatalf("%d prompts, %d texts", len(golden.Prompts), len(golden.Texts))
	}
	k, err := tokenizer.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	for _, x := range golden.Texts {
		if ids, _, err := k.Encode(x.Text, false); err != nil || !slices.Equal(ids, x.IDs) {
			t.Errorf("%q: %v, %v, sentencepiece %v", x.Text, ids, err, x.IDs)
		}
	}
	guard(t, func() {
		m, err := model.Load(dir, tensor.Float32, false)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Free()
		var prompts [][]int32
		for _, p := range golden.Prompts {
			prompts = append(prompts, p.Prompt)
		}
		for i, got := range answers(t, m, prompts, 4, 24, Options{}, 1) {
			if want := golden.Prompts[i].Completion; !slices.Equal(got, want) {
				t.Errorf("prompt %d: %v, transformers %v", i, got, want)
			}
		}
	})
}
