package chat

import (
	"context"
	"os"
	"testing"
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
