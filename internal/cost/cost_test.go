package cost

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Published shapes, and how many weights their models have.
var published8B = []byte(`{"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
	"num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": false, "torch_dtype": "bfloat16"}`)

func TestParameters(t *testing.T) {
	for name, c := range map[string]struct {
		config string
		want   int64
	}{
		"Llama 3.1 8B":  {string(published8B), 8030261248},
		"SmolLM2 135M":  {`{"model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": true}`, 134515008},
		"GPT-2, within": {`{"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257}`, 124439808}, // biases and positions are left out
	} {
		m, err := ParseModel([]byte(c.config))
		if err != nil {
			t.Fatal(name, err)
		}
		if got := m.Parameters(); math.Abs(float64(got-c.want)) > 0.01*float64(c.want) {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	m, _ := ParseModel(published8B)
	if got := m.LoRA(16); got != 41943040 { // PEFT's trainable parameters of r=16, all-linear
		t.Errorf("LoRA: %d", got)
	}
}

// The arithmetic is that of the papers: 6·N a token and 4·N with an adapter, for N without the embedding, within what attention and head add.
func TestFLOP(t *testing.T) {
	m, err := ParseModel(published8B)
	if err != nil {
		t.Fatal(err)
	}
	n := float64(m.Linear() + m.Head())
	full := Training{Model: m, Tokens: 1000, Labels: 1000}
	if got := full.FLOP() / 1000 / n; got < 6 || got > 6.2 {
		t.Errorf("full: %.2f·N a token", got)
	}
	adapter := full
	adapter.Adapter = m.LoRA(16)
	if got := adapter.FLOP() / 1000 / n; got < 4 || got > 4.4 {
		t.Errorf("LoRA: %.2f·N a token", got)
	}
	again := full
	again.Checkpoint = true
	if got := again.FLOP() / full.FLOP(); math.Abs(got-4.0/3) > 0.01 {
		t.Errorf("gradient checkpointing: %.3f times", got)
	}
}

// What takes less memory is predicted to.
func TestMemory(t *testing.T) {
	m, err := ParseModel(published8B)
	if err != nil {
		t.Fatal(err)
	}
	h100, ok := Named("h100")
	if !ok {
		t.Fatal("no h100")
	}
	of := func(change func(*Training)) Estimate {
		x := Training{Model: m, DType: "bfloat16", Optimizer: "adamw", Steps: 10, Accumulate: 1, Rows: 8, Tokens: 1024, Labels: 1024, Longest: 1024}
		change(&x)
		return x.Estimate(h100)
	}
	full := of(func(*Training) {})
	if want := int64(18 * m.Parameters()); full.Least != want { // float32 weights, gradients, two moments, and a copy in bfloat16
		t.Errorf("full: at least %d, want %d", full.Least, want)
	}
	last := full.Memory
	for _, less := range []struct {
		name   string
		change func(*Training)
	}{
		{"lion", func(x *Training) { x.Optimizer = "lion" }},
		{"adafactor", func(x *Training) { x.Optimizer = "adafactor" }},
		{"LoRA", func(x *Training) { x.Adapter = m.LoRA(16) }},
		{"NF4", func(x *Training) { x.Adapter, x.Quantized = m.LoRA(16), true }},
		{"double", func(x *Training) { x.Adapter, x.Quantized, x.Double = m.LoRA(16), true, true }},
		{"recomputed", func(x *Training) {
			x.Adapter, x.Quantized, x.Double, x.Checkpoint = m.LoRA(16), true, true, true
		}},
	} {
		e := of(less.change)
		if e.Memory >= last || e.Least > e.Memory {
			t.Errorf("%s takes %d, at least %d, and what came before it %d", less.name, e.Memory, e.Least, last)
		}
		last = e.Memory
	}
}

// Fields of config.json that make no model are errors, however they are wrong.
func TestNoModel(t *testing.T) {
	for _, config := range []string{``, `[]`, `{}`, `{"hidden_size": -1}`, `{"hidden_size": 1e99}`,
		`{"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 9000000000, "num_attention_heads": 4, "vocab_size": 10}`,
		`{"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 0, "vocab_size": 10}`,
		`{"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": -10}`} {
		if m, err := ParseModel([]byte(config)); err == nil {
			t.Errorf("%s: %+v", config, m)
		}
	}
	if _, err := ReadModel(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a folder that is not there has a shape")
	}
}

// A profile counts for the device, threads and hardware that it was measured on; of others, and a damaged one, it is said.
func TestProfile(t *testing.T) {
	dir := t.TempDir()
	m := Guess("cpu", 4, 1<<30)
	m.Hardware, m.Processors, m.Measured = "Zen, 4 processors", 4, time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	path, err := m.Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	got, ok, err := ReadProfile(dir, "cpu", 4, "Zen, 4 processors")
	if m.Said = ""; err != nil || !ok || got != m || got.Basis() != "profile of 2026-01-02" {
		t.Errorf("%+v %v %v", got, ok, err)
	}
	for _, other := range []string{"Xeon, 4 processors", "Zen, 8 processors", ""} {
		if _, ok, err := ReadProfile(dir, "cpu", 4, other); ok || err == nil || !strings.Contains(err.Error(), "of another machine, Zen, 4 processors: ") {
			t.Errorf("on %q: %v, %v", other, ok, err)
		}
	}
	if _, ok, err := ReadProfile(dir, "cpu", 2, "Zen, 4 processors"); ok || err != nil {
		t.Error("of other threads", err)
	}
	for _, damaged := range []string{"", "{}", `{"float32": "fast"}`, `[1]`} {
		if err := os.WriteFile(path, []byte(damaged), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, ok, err := ReadProfile(dir, "cpu", 4, "Zen, 4 processors"); ok || err == nil {
			t.Errorf("%q is a profile", damaged)
		}
	}
}

// A profile that was taken beside other work, or of a machine that is now quick and now slow, says so wherever it is used.
func TestUnsteady(t *testing.T) {
	for _, c := range []struct {
		threads, processors int
		others, spread      float64
		want                string
	}{
		{2, 2, 0.1, 1.05, ""},
		{1, 2, 1, 1.05, ""}, // the other processor's
		{1, 64, 40, 1.05, ""},
		{64, 64, 2, 1.05, ""},
		{2, 2, 0.7, 1.05, "other work had 0.7 of 2 processors"},
		{1, 2, 1.6, 1.05, "other work had 1.6 of 2 processors"},
		{64, 64, 8, 1.05, "other work had 8.0 of 64 processors"},
		{2, 2, 0.1, 1.8, "its speed varied by 1.8 times"},
	} {
		m := Machine{Threads: c.threads, Processors: c.processors, Others: c.others, Spread: c.spread, Measured: time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)}
		want := "profile of 2026-01-02"
		if c.want != "" {
			want += ", taken while " + c.want + ": hone doctor --bench again, when the machine rests"
		}
		if got := m.Basis(); got != want {
			t.Errorf("%+v: %q, want %q", c, got, want)
		}
	}
}

// What rows have in common is counted as internal/model computes it: what they share with the first row of a pass, once.
func TestPass(t *testing.T) {
	for _, c := range []struct {
		name string
		pass Pass
		want float64
	}{
		{"one row", Pass{Groups: 1, Rows: 1, Prompt: 50, Answer: 10, Shared: 30}, 60},
		{"rows that begin alike", Pass{Groups: 4, Rows: 1, Prompt: 50, Answer: 10, Shared: 30}, 4*60 - 3*30},
		{"next to nothing in common", Pass{Groups: 4, Rows: 1, Prompt: 50, Answer: 10, Shared: 1}, 4 * 60},
		{"a pair", Pass{Groups: 1, Rows: 2, Prompt: 50, Answer: 10, Shared: 30}, 50 + 2*10},
		{"pairs: the other prompts twice, but for what all share", Pass{Groups: 4, Rows: 2, Prompt: 50, Answer: 10, Shared: 30}, 50 + 2*10 + 3*2*(20+10)},
		{"pairs with nothing in common", Pass{Groups: 4, Rows: 2, Prompt: 50, Answer: 10}, 4 * (50 + 2*10)},
		{"dropout", Pass{Groups: 4, Rows: 2, Prompt: 50, Answer: 10, Shared: 30, Apart: true}, 4 * 2 * 60},
	} {
		if got := c.pass.Tokens(); got != c.want {
			t.Errorf("%s: %g tokens, want %g", c.name, got, c.want)
		}
		all := c.pass.Groups * c.pass.Rows * (c.pass.Prompt + c.pass.Answer)
		if got := c.pass.Gathered(); c.want < all && got != all || c.want == all && got != 0 {
			t.Errorf("%s: attention gathers %g tokens", c.name, got)
		}
	}
}

// A vocabulary has few numbers of several digits, and no token of two words: text of these has more tokens than its bytes say.
func TestTokens(t *testing.T) {
	m := Model{Vocabulary: 49152}
	prose := Text{Rows: 1, Bytes: 430, Pieces: 80, Longest: 860}
	all, _ := prose.Tokens(m)
	if want := 430 / m.BytesPerToken(); all != want || prose.LongestTokens(m) != 2*want {
		t.Errorf("prose: %g tokens, %g at most, want %g", all, prose.LongestTokens(m), want)
	}
	sums := Text{Rows: 1, Bytes: 430, Pieces: 240, Longest: 430}
	if all, _ := sums.Tokens(m); all != 240 || sums.LongestTokens(m) != 240 {
		t.Errorf("sums: %g tokens, %g at most", all, sums.LongestTokens(m))
	}
}
