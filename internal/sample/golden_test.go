package sample

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hone-ml/hone/internal/gguf"
	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/safetensors"
	"github.com/hone-ml/hone/internal/tensor"
)

func TestMain(m *testing.M) {
	tensor.Lock()
	if _, err := tensor.Use(os.Getenv("HONE_TEST_DEVICE"), true); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func guard(t *testing.T, f func()) {
	t.Helper()
	tensor.Lock()
	defer tensor.Open().Close()
	if err := tensor.Guard(func() error { f(); return nil }); err != nil {
		t.Fatal(err)
	}
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

// answers decodes prompts, at most batch at once.
func answers(t *testing.T, m *model.Model, prompts [][]int32, batch, tokens int, o Options, end ...int32) [][]int32 {
	t.Helper()
	out := make([][]int32, len(prompts))
	var requests []*Request
	for i, p := range prompts {
		o := o
		o.Sequence = uint64(i)
		r := &Request{Prompt: p, Options: o, MaxNewTokens: tokens, End: map[int32]bool{}, Done: func(x []int32) error { out[i] = x; return nil }}
		for _, e := range end {
			r.End[e] = true
		}
		requests = append(requests, r)
	}
	if err := Generate(context.Background(), m, requests, batch); err != nil {
		t.Fatal(err)
	}
	return out
}

// SmolLM2-135M-Instruct answers twenty prompts token by token as transformers' generate(do_sample=False) does, one at a time
// and in batches whose places change hands.
func TestGreedySmolLM2(t *testing.T) {
	file := os.Getenv("HONE_SMOLLM2")
	if file == "" {
		t.Skip("HONE_SMOLLM2 names no GGUF file of SmolLM2-135M-Instruct")
	}
	dir := t.TempDir()
	if err := gguf.Convert(context.Background(), file, dir, "float32", nil); err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Prompts []struct{ Prompt, Completion []int32 }
	}
	readJSON(t, "testdata/greedy.json", &golden)
	if len(golden.Prompts) != 20 {
		t.Fatalf("%d prompts", len(golden.Prompts))
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
		for _, batch := range []int{1, 8} {
			for i, got := range answers(t, m, prompts, batch, 64, Options{}, 2) {
				if want := golden.Prompts[i].Completion; !slices.Equal(got, want) {
					t.Errorf("%d at once, prompt %d: %v, transformers %v", batch, i, got, want)
				}
			}
		}
	})
}

// toyPrompt is the input of so many tokens that the toy model's goldens were made from.
func toyPrompt(t *testing.T, dir, n string) []int32 {
	t.Helper()
	f, err := safetensors.Open(filepath.Join(dir, "expected.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	x, ok := f.Tensor("ids." + n)
	if !ok {
		t.Fatalf("no input of %s tokens", n)
	}
	out := make([]int32, len(x.Data)/8)
	for i := range out {
		out[i] = int32(binary.LittleEndian.Uint64(x.Data[8*i:]))
	}
	return out
}

// The toy models' greedy tokens.
func TestGreedyToys(t *testing.T) {
	dirs, _ := filepath.Glob("../model/testdata/*/expected.json")
	if len(dirs) < 16 {
		t.Fatalf("%d models", len(dirs))
	}
	for _, path := range dirs {
		dir := filepath.Dir(path)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			guard(t, func() {
				var want struct{ Greedy map[string][]int32 }
				readJSON(t, path, &want)
				m, err := model.Load(dir, tensor.Float32, false)
				if err != nil {
					t.Fatal(err)
				}
				defer m.Free()
				var prompts [][]int32
				var lengths []string
				for n, tokens := range want.Greedy {
					prompt := toyPrompt(t, dir, n)
					prompts, lengths = append(prompts, prompt), append(lengths, n)
					if got := answers(t, m, [][]int32{prompt}, 1, 24, Options{}, 2)[0]; !slices.Equal(got, tokens) {
						t.Errorf("%s tokens: %v, transformers %v", n, got, tokens)
					}
				}
				for i, got := range answers(t, m, prompts, 2, 24, Options{}, 2) {
					if tokens := want.Greedy[lengths[i]]; !slices.Equal(got, tokens) {
						t.Errorf("%s tokens, two rows at once: %v, transformers %v", lengths[i], got, tokens)
					}
				}
			})
		})
	}
}

// What temperature, top-k, top-p, min-p and the repetition penalty leave of a distribution, as transformers' processors do.
func TestProcessors(t *testing.T) {
	var golden struct {
		Cases []struct {
			Settings     map[string]float64
			IDs          []int32
			Scores       []float32
			Distribution []float64
		}
	}
	readJSON(t, "testdata/processors.json", &golden)
	if len(golden.Cases) < 8 {
		t.Fatalf("%d cases", len(golden.Cases))
	}
	for _, c := range golden.Cases {
		t.Run(fmt.Sprint(c.Settings), func(t *testing.T) {
			o := Options{Temperature: 1, TopP: c.Settings["top_p"], TopK: int(c.Settings["top_k"]), MinP: c.Settings["min_p"],
				RepetitionPenalty: c.Settings["repetition_penalty"]}
			if x, ok := c.Settings["temperature"]; ok {
				o.Temperature = x
			}
			choose := newChooser(o, c.IDs)
			logits := slices.Clone(c.Scores)
			for tok := range choose.present {
				if l := logits[tok]; l < 0 {
					logits[tok] = l * float32(o.RepetitionPenalty)
				} else {
					logits[tok] = l / float32(o.RepetitionPenalty)
				}
			}
			got := make([]float64, len(c.Scores))
			for _, x := range choose.distribution(logits) {
				got[x.token] = x.p
			}
			for i := range got {
				if math.Abs(got[i]-c.Distribution[i]) > 1e-5 {
					t.Errorf("token %d: probability %g, transformers %g", i, got[i], c.Distribution[i])
				}
			}
		})
	}
}

// A sampled sequence depends on its seed and number alone: alone or in company, the tokens are the same.
func TestSampledAlike(t *testing.T) {
	guard(t, func() {
		dir := "../model/testdata/llama-tied"
		m, err := model.Load(dir, tensor.Float32, false)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Free()
		prompts := [][]int32{toyPrompt(t, dir, "7"), toyPrompt(t, dir, "33"), toyPrompt(t, dir, "1"), toyPrompt(t, dir, "7")}
		o := Options{Temperature: 1.3, TopP: 0.95, Seed: 4}
		one, many := answers(t, m, prompts, 1, 24, o, 2), answers(t, m, prompts, 3, 24, o, 2)
		for i := range one {
			if !slices.Equal(one[i], many[i]) {
				t.Errorf("prompt %d: alone %v, in company %v", i, one[i], many[i])
			}
		}
		if slices.Equal(one[0], one[3]) {
			t.Error("two sequences drew the same tokens")
		}
	})
}

// Guessed tokens change how soon tokens come, not which: greedy and drawn, with a penalty, alone and in company.
func TestGuessing(t *testing.T) {
	for _, toy := range []string{"llama-tied", "gemma2", "phi3-longrope"} { // all; in a window; over LongRoPE's border
		guard(t, func() { testGuessing(t, "../model/testdata/"+toy) })
	}
}

func testGuessing(t *testing.T, dir string) {
	t.Helper()
	m, err := model.Load(dir, tensor.Float32, false)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	phrase := toyPrompt(t, dir, "7")
	prompts := [][]int32{slices.Concat(phrase, phrase, phrase), toyPrompt(t, dir, "33"), phrase}
	defer func() { guessing = true }()
	for _, o := range []Options{{}, {Temperature: 0.3, Seed: 1}, {Temperature: 1, TopK: 2, Seed: 2}, {RepetitionPenalty: 1.01}} {
		for _, batch := range []int{1, 3} {
			guessing = false
			want := answers(t, m, prompts, batch, 60, o, 2)
			guessing = true
			for i, got := range answers(t, m, prompts, batch, 60, o, 2) {
				if !slices.Equal(got, want[i]) {
					t.Errorf("%s, %+v, %d at once, prompt %d: %v, one by one %v", dir, o, batch, i, got, want[i])
				}
			}
		}
	}
}

// What was said before is guessed, more of it while it holds.
func TestDrafter(t *testing.T) {
	d := newDrafter([]int32{1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2})
	for _, step := range []struct {
		limit, held int
		want        []int32
	}{{10, 3, []int32{3, 4, 5}}, {10, 4, []int32{3, 4, 5, 6, 7, 8}}, {10, 0, []int32{3, 4, 5, 6, 7}}, {10, 1, []int32{3}}, {1, 1, []int32{3}}, {0, 0, nil}} {
		got := d.draft(step.limit)
		if !slices.Equal(got, step.want) {
			t.Errorf("limit %d, reach %d: %v, want %v", step.limit, d.reach, got, step.want)
		}
		d.learn(len(got), step.held)
	}
	if got := newDrafter([]int32{1, 2, 3}).draft(5); got != nil {
		t.Errorf("%v where nothing was said twice", got)
	}
}
