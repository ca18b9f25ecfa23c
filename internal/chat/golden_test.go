package chat

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hone-ml/hone/internal/chat/jinja"
	"github.com/hone-ml/hone/internal/ordjson"
)

// conversation is one input of testdata/conversations.json, which bench/golden/templates.py writes.
type conversation struct {
	name string
	vars Vars
}

func readConversations(t testing.TB) (tokens map[string]string, all []conversation) {
	t.Helper()
	file := readValue(t, "testdata/conversations.json").(*ordjson.Object)
	named, _ := file.Get("tokens")
	tokens = map[string]string{}
	for _, m := range named.(*ordjson.Object).Members() {
		tokens[m.Key] = m.Value.(string)
	}
	list, _ := file.Get("conversations")
	for _, item := range list.([]ordjson.Value) {
		c := item.(*ordjson.Object)
		name, _ := c.Text("name")
		raw, _ := c.Get("messages")
		var v Vars
		for _, m := range raw.([]ordjson.Value) { // some have no content, which Messages refuses
			v.Messages = append(v.Messages, m.(*ordjson.Object))
		}
		v.Tools, _ = c.Get("tools")
		prompt, _ := c.Get("generation_prompt")
		v.GenerationPrompt = prompt == true
		if extra, ok := c.Get("vars"); ok {
			v.Extra = extra.(*ordjson.Object)
		}
		all = append(all, conversation{name, v})
	}
	return tokens, all
}

func readValue(t testing.TB, path string) ordjson.Value {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	v, err := ordjson.Parse(b)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v
}

func short(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])[:16]
}

// entry spells the outcome of a render as renders.json does.
func entry(t *Template, v Vars) (string, string) {
	ctx := context.Background()
	r, err := t.renderer(v)
	if err != nil {
		return "error", err.Error()
	}
	text, err := t.Render(ctx, v)
	var failure *jinja.Error
	if errors.As(err, &failure) {
		if failure.Raised {
			return "raised " + short(failure.Message), err.Error()
		}
		return "error", err.Error()
	}
	e := short(text)
	if t.Marked() {
		marked, spans, err := r.render(ctx, len(r.messages), v.GenerationPrompt, true)
		if err != nil {
			return "error", err.Error()
		}
		if marked != text {
			return "marking changes the text", marked
		}
		if len(spans) > 0 {
			b, _ := json.Marshal(spans)
			e += " " + short(strings.ReplaceAll(string(b), ",", ", "))
		}
	}
	return e, text
}

func TestRendersAreTransformers(t *testing.T) {
	compareRenders(t, "testdata/renders.json", "testdata/trl")
}

func compareRenders(t *testing.T, golden, folder string) {
	tokens, conversations := readConversations(t)
	file := readValue(t, golden).(*ordjson.Object)
	renders, _ := file.Get("renders")
	total, wrong := 0, 0
	for _, m := range renders.(*ordjson.Object).Members() {
		source, err := os.ReadFile(filepath.Join(folder, m.Key))
		if err != nil {
			t.Fatal(err)
		}
		template, err := Parse(string(source))
		if err == nil {
			template = template.With(tokens, nil)
		}
		for i, want := range m.Value.([]ordjson.Value) {
			total++
			got := "error"
			var text string
			if err == nil {
				got, text = entry(template, conversations[i].vars)
			} else {
				text = err.Error()
			}
			if got != want {
				wrong++
				t.Errorf("%s: %s: got %s, want %s\n%.1500s", m.Key, conversations[i].name, got, want, text)
			}
		}
	}
	if total == 0 {
		t.Fatal("no renders")
	}
	t.Logf("%d of %d renders differ", wrong, total)
}

func TestSamplesAreTransformers(t *testing.T) {
	tokens, conversations := readConversations(t)
	for _, m := range readValue(t, "testdata/samples.json").(*ordjson.Object).Members() {
		source, err := os.ReadFile(filepath.Join("testdata/trl", m.Key))
		if err != nil {
			t.Fatal(err)
		}
		template, err := Parse(string(source))
		if err != nil {
			t.Fatal(err)
		}
		sample := m.Value.(*ordjson.Object)
		name, _ := sample.Text("conversation")
		want, _ := sample.Text("text")
		i := slices.IndexFunc(conversations, func(c conversation) bool { return c.name == name })
		got, err := template.With(tokens, nil).Render(context.Background(), conversations[i].vars)
		if err != nil || got != want {
			t.Errorf("%s: %s: %v\ngot  %q\nwant %q", m.Key, name, err, got, want)
		}
	}
}

func TestExpressionsArePythons(t *testing.T) {
	vars, err := ordjson.Parse([]byte(`{"s": "Hello, Wörld ", "n": 7, "f": 2.5, "none": null, "t": true, "big": 12345678901234567890,
		"l": [3, 1, 2], "d": {"b": 1, "a": [1, 2.0, null, true, "x'y"], "é": "\u2028"}, "e": "",
		"people": [{"name": "Bo", "age": 3}, {"name": "al", "age": 1, "x": {"y": 1}}, {"name": "Cy", "age": 3}]}`))
	if err != nil {
		t.Fatal(err)
	}
	tokens, _ := readConversations(t)
	for _, item := range readValue(t, "testdata/expressions.json").([]ordjson.Value) {
		e := item.(*ordjson.Object)
		source, _ := e.Text("source")
		want, fine := e.Text("text")
		pythons, _ := e.Text("error")
		template, err := Parse(source)
		got := ""
		if err == nil {
			got, err = template.With(tokens, nil).Render(context.Background(), Vars{Messages: []Message{Turn("user", "hi")}, Extra: vars.(*ordjson.Object)})
		}
		switch {
		case err != nil && fine:
			t.Errorf("%s\nerror %v\nwant %q", source, err, want)
		case err == nil && !fine:
			t.Errorf("%s\ngot   %q\nwant error %s", source, got, pythons)
		case got != want:
			t.Errorf("%s\ngot  %q\nwant %q", source, got, want)
		}
	}
}
