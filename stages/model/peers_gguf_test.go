package model

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
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
	Context int       `json:"context"`
	Texts   []string  `json:"texts"`
	Prompts [][]int32 `json:"prompts"`
	Tokens  int       `json:"tokens"`

	ids, answers [][]int32 // what it is to print
}

// ggufToy is a toy of an architecture that others read from files of ours.
type ggufToy struct {
	name    string
	config  map[string]any // what its config.json is to say otherwise
	context int            // for llama.cpp, if not any
	peer    string         // what transformers' gguf_file= reads of it rightly: all, tokens where it is told the config.json, or nothing
	// texts that llama.cpp and transformers split otherwise than the tokenizer that the file was made of
	llama, transformers []string
}

const decomposed = "e\u0301 combining ﬁ" // which neither normalises to NFC

// Of sentencepiece's tokenizers transformers puts no space before one, and merges runs of them that Gemma's has whole.
var ggufToys = []ggufToy{
	{name: "llama", peer: "all"},
	{name: "llama3", peer: "tokens"},
	{name: "biased", peer: "tokens"},
	{name: "llama-spm", peer: "all", transformers: []string{" leading"}},
	{name: "llama-spm", config: map[string]any{"model_type": "mistral", "sliding_window": nil}, peer: "all", transformers: []string{" leading"}},
	{name: "qwen2", peer: "all", llama: []string{decomposed}, transformers: []string{decomposed}},
	{name: "qwen3", peer: "tokens", llama: []string{decomposed}, transformers: []string{decomposed}},
	{name: "gemma2", peer: "tokens", transformers: []string{ggufRuns, ggufSpaces}},
	{name: "gemma3", peer: "tokens", transformers: []string{ggufRuns, ggufSpaces}},
	{name: "phi3", config: map[string]any{"pad_token_id": 0, "sliding_window": nil}, peer: "tokens"},                                          // 32000 else; llama.cpp applies no window
	{name: "phi3-longrope", config: map[string]any{"pad_token_id": 0, "original_max_position_embeddings": 256}, context: 256, peer: "tokens"}, // else long factors
	{name: "olmo2"},
	{name: "smollm3"},
	{name: "gpt2", peer: "tokens"},
}

const (
	ggufRuns   = "two  spaces   three\t tab\n\nnew line\r\n"
	ggufSpaces = "a         b\n\n\n\nc"
)

const ggufTemplate = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"

// load makes the toy a folder, with a template.
func (toy ggufToy) load(t *testing.T) string {
	t.Helper()
	r := stagetest.Run(t.Context(), t, loadJob(t, absolute(t, ggufs, toy.name+".gguf"), "float32"), Load)
	if r.Code != 0 {
		t.Fatal(r.Last())
	}
	dir := copyToy(t, r.Out("model"))
	if toy.config != nil {
		config := object(t, dir, "config.json")
		maps.Copy(config, toy.config)
		writeJSON(t, dir, "config.json", config)
	}
	write(t, dir, "chat_template.jinja", ggufTemplate)
	return dir
}

// ids are texts with their ids by the tokenizer that the toy's file was made of, but for those to leave out.
func (toy ggufToy) ids(t *testing.T, but []string) (texts []string, ids [][]int32) {
	t.Helper()
	var golden struct{ IDs [][2]any }
	if err := json.Unmarshal([]byte(read(t, ggufs, toy.name+".json")), &golden); err != nil {
		t.Fatal(err)
	}
	for _, pair := range golden.IDs {
		text := pair[0].(string)
		if text == "" || slices.Contains(but, text) {
			continue
		}
		var row []int32
		for _, id := range pair[1].([]any) {
			row = append(row, int32(id.(float64)))
		}
		texts, ids = append(texts, text), append(ids, row)
	}
	return texts, ids
}

func exportGGUF(t *testing.T, dir, kind string) (file string) {
	t.Helper()
	r := stagetest.Run(t.Context(), t, exportJob(t, job.Input{Kind: "model", Path: dir}, "gguf "+kind), Export)
	if r.Code != 0 {
		t.Fatal(r.Last())
	}
	return filepath.Join(r.Out("files"), "model.gguf")
}

// Of an exported file llama.cpp gives the ids, and in F32 and F16 the greedy tokens, that we give of its folder, and transformers
// the logits, the ids and the template: toys of each architecture with stretched positions and biases, and SmolLM2 where HONE_SMOLLM2
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
	for _, toy := range ggufToys {
		dir := toy.load(t)
		name := fmt.Sprint(toy.name, " ", object(t, dir, "config.json")["model_type"])
		m, err := model.Load(dir, tensor.Float32, false)
		if err != nil {
			t.Fatal(err)
		}
		run := llamaCase{Tokens: 24, Context: toy.context}
		run.Prompts, run.answers = decided(t, m, run.Tokens)
		run.Texts, run.ids = toy.ids(t, toy.llama)
		for _, kind := range []string{"f32", "f16"} {
			run.Name, run.File = name+" "+kind, exportGGUF(t, dir, kind)
			runs = append(runs, run)
			if kind != "f32" || toy.peer == "" {
				continue
			}
			c := peered(t, name, m, filepath.Dir(run.File), "")
			c.File, c.template = filepath.Base(run.File), ggufTemplate
			c.Texts, c.tokens = toy.ids(t, toy.transformers)
			if toy.peer != "all" {
				c.Config = dir
			}
			logits = append(logits, c)
		}
		m.Free()
	}
	compare(t, python, logits)
	if file := os.Getenv("HONE_SMOLLM2"); file != "" {
		runs = append(runs, smollm2(t, file)...)
	}
	runLlama(t, python, runs)
}

// decided are the first three of some prompts, short and long, whose answers have no close choice: of them llama.cpp, whose logits
// are up to a thousandth of their range from ours, could say another.
func decided(t *testing.T, m *model.Model, tokens int) (prompts, answers [][]int32) {
	t.Helper()
	candidates := [][]int32{{5, 6, 7, 40}, {300, 9, 200}}
	for i := range int32(10) {
		var ids []int32
		for id := 60 - i; id < 130+i; id++ {
			ids = append(ids, id)
		}
		candidates = append(candidates, ids, []int32{90 + i, 200 + 3*i})
	}
	for i, answer := range greedy(t, m, candidates, tokens) {
		if len(prompts) < 3 && !torn(t, m, candidates[i], answer) {
			prompts, answers = append(prompts, candidates[i]), append(answers, answer)
		}
	}
	if len(prompts) < 3 {
		t.Fatalf("%d prompts are left", len(prompts))
	}
	return prompts, answers
}

// torn reports whether two tokens are nearly as likely at some place of an answer.
func torn(t *testing.T, m *model.Model, prompt, answer []int32) (is bool) {
	t.Helper()
	tensor.NoGrad(func() {
		in, _ := model.Packed([][]int32{slices.Concat(prompt, answer)})
		h, err := m.Hidden(in)
		if err != nil {
			t.Fatal(err)
		}
		logits, n := m.Logits(h).Floats(), int(m.Config.VocabSize)
		for i := range answer {
			row := slices.Sorted(slices.Values(logits[(len(prompt)+i-1)*n:][:n]))
			is = is || row[n-1]-row[n-2] < 0.002*(row[n-1]-row[0])
		}
	})
	return is
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
		if err := gguf.Write(t.Context(), run.File, dir, kind, t.Logf, nil); err != nil {
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
