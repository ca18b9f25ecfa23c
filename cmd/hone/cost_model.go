package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/hone-ml/hone/internal/chat"
	"github.com/hone-ml/hone/internal/cost"
	"github.com/hone-ml/hone/internal/gguf"
)

// shapeOfModel reads the shape of a model, a GGUF file or a Hugging Face folder, and what its template begins with.
func shapeOfModel(path string) (m cost.Model, err error) {
	if info, e := os.Stat(path); e == nil && !info.IsDir() {
		m, err = shapeOfGGUF(path)
	} else {
		m, err = cost.ReadModel(path)
	}
	m.Prelude = int64(prelude(path))
	return m, err
}

// shapeOfGGUF reads the shape out of a GGUF file's metadata.
func shapeOfGGUF(path string) (cost.Model, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return cost.Model{}, err
	}
	defer f.Close()
	name, err := f.Meta.Text("general.architecture")
	if err != nil {
		return cost.Model{}, fmt.Errorf("%s: %w", path, err)
	}
	number := func(key string) int64 {
		n, _, e := f.Meta.Int(name + "." + key)
		err = errors.Join(err, e)
		return n
	}
	m := cost.Model{
		Layers: number("block_count"), Hidden: number("embedding_length"), Inner: number("feed_forward_length"),
		Heads: number("attention.head_count"), KeyHeads: number("attention.head_count_kv"), HeadDim: number("attention.key_length"),
		StoredBytes: 2, Tied: true,
	}
	if m.KeyHeads == 0 {
		m.KeyHeads = m.Heads
	}
	if m.HeadDim == 0 && m.Heads > 0 {
		m.HeadDim = m.Hidden / m.Heads
	}
	for _, t := range f.Tensors {
		switch {
		case t.Name == "token_embd.weight":
			m.Vocabulary = t.Shape[0]
		case t.Name == "output.weight":
			m.Tied = false
		case t.Name == "blk.0.ffn_gate.weight", t.Name == "blk.0.ffn_up.weight" && t.Shape[0] == 2*m.Inner: // Phi-3 has both in one
			m.Gated = true
		}
		if len(t.Shape) > 1 && t.Type != gguf.BF16 { // model.load then keeps float32
			m.StoredBytes = 4
		}
	}
	if err == nil {
		err = m.Check()
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return m, err
}

// prelude is the bytes that a model's template puts before a conversation without a system message: by which the first turn of the user is
// longer than the second.
func prelude(model string) int {
	var t *chat.Template
	var err error
	if info, e := os.Stat(model); e == nil && !info.IsDir() {
		t, err = ggufTemplate(model)
	} else {
		t, err = chat.Load(model)
	}
	if err != nil {
		return 0
	}
	length := func(messages ...chat.Message) int {
		text, e := t.Render(context.Background(), chat.Vars{Messages: messages})
		err = errors.Join(err, e)
		return len(text)
	}
	user, assistant := chat.Turn("user", "."), chat.Turn("assistant", ".")
	first, second := length(user), length(user, assistant, user)-length(user, assistant)
	if err != nil { // it has nothing to say to these, or too much
		return 0
	}
	return max(first-second, 0)
}

func ggufTemplate(path string) (*chat.Template, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	source, err := f.Meta.Text("tokenizer.chat_template")
	if err != nil {
		return nil, err
	}
	return chat.Parse(source)
}
