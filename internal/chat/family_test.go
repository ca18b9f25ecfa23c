package chat

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/hone-ml/hone/internal/ordjson"
)

// A family prints what the template prints that models of the family ship; qwen3 prints every turn as Qwen3's
// training variant in TRL does, since Qwen3's own prints earlier turns in another way.
func TestFamiliesPrintTheirModels(t *testing.T) {
	tokens, conversations := readConversations(t)
	for family, file := range map[string]string{"llama3": "llama3.jinja", "qwen2.5": "qwen2_5.jinja", "qwen3": "qwen3_training.jinja"} {
		source, err := os.ReadFile("testdata/trl/" + file)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := Parse(string(source))
		if err != nil {
			t.Fatal(err)
		}
		ours, err := Family(family)
		if err != nil {
			t.Fatal(err)
		}
		compared := 0
		for _, c := range conversations {
			want, err := theirs.With(tokens, nil).Render(context.Background(), c.vars)
			if err != nil || c.name == "parts" || c.name == "parts, system, prompt" || c.name == "image" {
				continue // what theirs refuses, or prints as Python's lists
			}
			if family == "qwen2.5" && c.name == "call as text" {
				continue // arguments that are text: ours prints them, Qwen2.5's escapes them once more
			}
			if family != "llama3" && (c.name == "developer" || c.name == "odd role") {
				if _, err := ours.Render(context.Background(), c.vars); err == nil {
					t.Errorf("%s: %s: a role that is left out is not refused", family, c.name)
				}
				continue
			}
			compared++
			got, err := ours.With(tokens, nil).Render(context.Background(), c.vars)
			if err != nil || got != want {
				t.Errorf("%s: %s: %v\ngot  %q\nwant %q", family, c.name, err, got, want)
			}
		}
		if compared < 30 {
			t.Errorf("%s: only %d conversations compared", family, compared)
		}
	}
}

// plainReference is plain as it is commonly written, for three roles; \n stands for a newline.
const plainReference = `{% for message in messages %}
                {% if message['role'] == 'system' %}System: {{ message['content'] }}` + "\n" + `
                {% elif message['role'] == 'user' %}User: {{ message['content'] }}` + "\n" + `
                {% elif message['role'] == 'assistant' %}Assistant: {{ message['content'] }} <|endoftext|>
                {% endif %}
                {% endfor %}
`

func TestPlain(t *testing.T) {
	reference, err := Parse(plainReference)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := Family("plain")
	if err != nil {
		t.Fatal(err)
	}
	turns := []Message{Turn("system", "x"), Turn("user", "y"), Turn("assistant", "z"), Turn("user", "\n"), Turn("assistant", " w ")}
	want, err := reference.Render(context.Background(), Vars{Messages: turns})
	if err != nil {
		t.Fatal(err)
	}
	if want != "System: x\n\nUser: y\n\nAssistant: z <|endoftext|>\nUser: \n\n\nAssistant:  w  <|endoftext|>\n" {
		t.Errorf("reference: %q", want)
	}
	got, err := plain.Render(context.Background(), Vars{Messages: turns})
	if err != nil || got != want {
		t.Errorf("%v\ngot  %q\nwant %q", err, got, want)
	}
	checkSpans(t, "plain", plain.With(map[string]string{"eos_token": "</s>"}, nil), turns, " z </s>|  w  </s>")

	got, err = plain.Render(context.Background(), Vars{Messages: turns[:2], GenerationPrompt: true})
	if err != nil || got != "System: x\n\nUser: y\n\nAssistant:" {
		t.Errorf("generation prompt: %q %v", got, err)
	}
	if _, err := plain.Render(context.Background(), Vars{Messages: []Message{Turn("tool", "x")}}); err == nil {
		t.Error("plain takes the role tool")
	}
}

func TestFamiliesMarkTheirTurns(t *testing.T) {
	for _, name := range Families() {
		template, err := Family(name)
		if err != nil {
			t.Fatal(err)
		}
		if !template.Marked() {
			t.Errorf("%s has no {%% generation %%}", name)
		}
	}
	if _, err := Family("nope"); err == nil {
		t.Error("there is a family nope")
	}
}

// Content that is a list of text parts prints as their text in every family, however it came into a model; other parts are
// refused. A template of a model's own gets the list.
func TestFamiliesJoinTextParts(t *testing.T) {
	conversation := func(content string) []Message {
		v, err := ordjson.Parse([]byte(`[{"role": "user", "content": "a"}, {"role": "assistant", "content": ` + content + `}]`))
		if err != nil {
			t.Fatal(err)
		}
		m, err := Messages(v)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for _, name := range Families() {
		family, err := Family(name)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "chat_template.jinja"), []byte(family.Source), 0o666); err != nil {
			t.Fatal(err)
		}
		set, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		tokens := map[string]string{"bos_token": "<s>"}
		for _, template := range []*Template{family.With(tokens, nil), set.With(tokens, nil)} {
			want, err := template.Spans(t.Context(), Vars{Messages: conversation(`"hi there"`)})
			if err != nil {
				t.Fatal(err)
			}
			got, err := template.Spans(t.Context(), Vars{Messages: conversation(`[{"type": "text", "text": "hi"}, {"type": "text", "text": " there"}]`)})
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %v %+v, want %+v", name, err, got, want)
			}
			for content, want := range map[string]string{
				`[{"type": "text", "text": "hi"}, {"type": "image", "image": "a.png"}]`: "turn 2: content part image: this template takes text alone",
				`["hi"]`:             "turn 2: content part 1 is not ",
				`[{"type": "text"}]`: "turn 2: content part 1 is not ",
			} {
				if _, err := template.Render(t.Context(), Vars{Messages: conversation(content)}); err == nil || !strings.HasPrefix(err.Error(), want) {
					t.Errorf("%s: %s: error %v", name, content, err)
				}
			}
		}
	}
	own, err := Parse(`{{ messages[1].content }}`)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := own.Render(t.Context(), Vars{Messages: conversation(`[{"type": "text", "text": "hi"}]`)}); err != nil || got != `[{'type': 'text', 'text': 'hi'}]` {
		t.Errorf("%q, %v", got, err)
	}
}
