package model

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hone-ml/hone/internal/gguf"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/sample"
	"github.com/hone-ml/hone/internal/tensor"
	"github.com/hone-ml/hone/stages/stagetest"
)

// llamaCase is what bench/peers/llamacpp_check.py runs.
type llamaCase struct {
	Name    string    `json:"name"`
	File    string    `json:"file"`
	Texts   []string  `json:"texts"`
	Prompts [][]int32 `json:"prompts"`
	Tokens  int       `json:"tokens"`

	ids, answers [][]int32 // what it is to print
}

// exportGGUF loads a GGUF file as a folder and exports that.
func exportGGUF(t *testing.T, source, kind string) (dir, file string) {
	t.Helper()
	r := stagetest.Run(t.Context(), t, loadJob(t, source, "float32"), Load)
	if r.Code != 0 {
		t.Fatal(r.Last())
	}
	dir = r.Out("model")
	r = stagetest.Run(t.Context(), t, exportJob(t, job.Input{Kind: "model", Path: dir}, "gguf "+kind), Export)
	if r.Code != 0 {
		t.Fatal(r.Last())
	}
	return dir, filepath.Join(r.Out("files"), "model.gguf")
}

// transformers computes with an exported file the logits that we compute with its folder, and llama.cpp gives the same ids and
// the same greedy tokens: toys of each architecture with stretched positions and biases, and SmolLM2 where HONE_SMOLLM2
// names it. Its quantised files load and answer.
func TestPeersReadGGUF(t *testing.T) {
	python := os.Getenv("HONE_PEERS")
	if python == "" {
		t.Skip("HONE_PEERS is not set")
	}
	tensor.Lock()
	defer tensor.Open().Close()
	var logits []peerCase
	var runs []llamaCase
	for _, toy := range []string{"llama", "llama3", "biased", "qwen2", "qwen3"} {
		dir, file := exportGGUF(t, absolute(t, ggufs, toy+".gguf"), "f32")
		m, err := model.Load(dir, tensor.Float32, false)
		if err != nil {
			t.Fatal(err)
		}
		c := peered(t, toy, m, filepath.Dir(file), "")
		c.File = filepath.Base(file)
		if toy != "llama" && toy != "qwen2" { // transformers reads no biases, stretched positions or Qwen3's head_dim of a file
			c.Config = dir
		}
		logits = append(logits, c)
		run := llamaCase{Name: toy, File: file, Prompts: [][]int32{{5, 6, 7, 40}, {300, 9, 200}}, Tokens: 12}
		run.answers = greedy(t, m, run.Prompts, run.Tokens)
		var golden struct{ IDs [][2]any }
		if err := json.Unmarshal([]byte(read(t, ggufs, toy+".json")), &golden); err != nil {
			t.Fatal(err)
		}
		for _, pair := range golden.IDs {
			text := pair[0].(string)
			if text == "" || toy[0] == 'q' && text == "e\u0301 combining ﬁ" { // llama.cpp does not normalise to NFC
				continue
			}
			var ids []int32
			for _, id := range pair[1].([]any) {
				ids = append(ids, int32(id.(float64)))
			}
			run.Texts, run.ids = append(run.Texts, text), append(run.ids, ids)
		}
		runs = append(runs, run)
		m.Free()
	}
	compare(t, python, logits)
	if file := os.Getenv("HONE_SMOLLM2"); file != "" {
		runs = append(runs, smollm2(t, file)...)
	}
	runLlama(t, python, runs)
}

// smollm2 is the real model: in F32 what transformers answers, and the quantised ones, which are to answer something.
func smollm2(t *testing.T, file string) (runs []llamaCase) {
	t.Helper()
	var golden struct {
		Prompts []struct{ Prompt, Completion []int32 }
	}
	if err := json.Unmarshal([]byte(read(t, "../../internal/sample/testdata", "greedy.json")), &golden); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := gguf.Convert(t.Context(), file, dir, "float32", nil); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"f32", "q8_0", "q4_0"} {
		run := llamaCase{Name: "SmolLM2 " + kind, File: filepath.Join(t.TempDir(), "model.gguf"), Tokens: 24}
		if err := gguf.Write(t.Context(), run.File, dir, kind, nil); err != nil {
			t.Fatal(err)
		}
		for _, p := range golden.Prompts[:5] {
			run.Prompts = append(run.Prompts, p.Prompt)
			if kind == "f32" {
				run.answers = append(run.answers, p.Completion[:min(run.Tokens, len(p.Completion))])
			}
		}
		runs = append(runs, run)
	}
	return runs
}

func greedy(t *testing.T, m *model.Model, prompts [][]int32, tokens int) [][]int32 {
	t.Helper()
	out := make([][]int32, len(prompts))
	var requests []*sample.Request
	for i, p := range prompts {
		requests = append(requests, &sample.Request{Prompt: p, MaxNewTokens: tokens, Done: func(x []int32) error { out[i] = x; return nil }})
	}
	if err := sample.Generate(context.Background(), m, requests, 1); err != nil {
		t.Fatal(err)
	}
	return out
}

// runLlama compares what llama.cpp says with what is wanted. Answers end before a special token: which of them is among those
// that end one is llama.cpp's own choice, by their names.
func runLlama(t *testing.T, python string, runs []llamaCase) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cases.json")
	b, err := json.Marshal(runs)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "../../bench/peers/llamacpp_check.py", path)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	before := func(ids []int32) []int32 {
		if i := slices.IndexFunc(ids, func(id int32) bool { return id < 3 }); i >= 0 {
			return ids[:i]
		}
		return ids
	}
	d := json.NewDecoder(bytes.NewReader(out))
	for _, run := range runs {
		var got struct {
			Name         string
			IDs, Answers [][]int32
		}
		if err := d.Decode(&got); err != nil || got.Name != run.Name {
			t.Fatalf("%s: %v\n%s", run.Name, err, &stderr)
		}
		if diff := cmp.Diff(run.ids, got.IDs); run.ids != nil && diff != "" {
			t.Errorf("%s: ids: %s", run.Name, diff)
		}
		for i, answer := range got.Answers {
			switch {
			case len(answer) == 0:
				t.Errorf("%s: no answer to %v", run.Name, run.Prompts[i])
			case run.answers != nil && !slices.Equal(before(run.answers[i]), before(answer)):
				t.Errorf("%s: answer %d: %v, want %v", run.Name, i, answer, run.answers[i])
			}
		}
	}
}
