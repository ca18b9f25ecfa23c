package chat

import (
	"context"
	"strings"
	"testing"
)

const (
	chatMLUnmarked = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}{% endfor %}" +
		"{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
	llama2Like = "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' + m.content + ' [/INST]' }}" +
		"{% else %}{{ ' ' + m.content + ' ' + eos_token }}{% endif %}{% endfor %}"
	phi3Like = "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}" +
		"{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
	defaultSystem = "{% if messages[0].role != 'system' %}<sys>Help.</sys>{% endif %}" +
		"{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}<eot>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
	onlyLastEos    = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% else %}</s>{% endif %}"
	noEnd          = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
	stripsThoughts = "{% for m in messages %}<{{ m.role }}>{{ m.content if loop.last else m.content.split('</think>')[-1] }}<eot>{% endfor %}" +
		"{% if add_generation_prompt %}<assistant>{% endif %}"
	returnsAtEnd = "{% for m in messages %}<|start|>{{ m.role }}<|message|>{{ m.content }}{{ '<|return|>' if loop.last and not add_generation_prompt else '<|end|>' }}{% endfor %}" +
		"{% if add_generation_prompt %}<|start|>assistant<|message|>{% endif %}"
	wordEnd = "{% for m in messages %}{{ m.role }}: {{ m.content }} END\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)

func TestSpansByPrefix(t *testing.T) {
	two := []Message{Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c"), Turn("assistant", "d é\n")}
	for _, c := range []struct {
		name, source string
		messages     []Message
		want         string // spans joined by |, or an error's beginning
	}{
		{"chatml", chatMLUnmarked, two, "b<|im_end|>|d é\n<|im_end|>"},
		{"no generation prompt", llama2Like, two, " b </s>| d é\n </s>"},
		{"eos after the conversation", phi3Like, two, "b<|end|>|d é\n<|end|>"},
		{"default system message", defaultSystem, two, "b<eot>|d é<eot>"},
		{"end-of-turn that is a word", wordEnd, two, "b END|d é\n END"},
		{"user last", chatMLUnmarked, two[:3], "b<|im_end|>"},
		{"assistant twice", chatMLUnmarked, []Message{two[0], two[1], Turn("assistant", "x")}, "b<|im_end|>|x<|im_end|>"},
		{"assistant first", chatMLUnmarked, []Message{two[1], two[0]}, "b<|im_end|>"},
		{"end-of-turn in the content", chatMLUnmarked, []Message{two[0], Turn("assistant", "x<|im_end|>y"), two[0]}, "x<|im_end|>y<|im_end|>"},
		{"empty answer", chatMLUnmarked, []Message{two[0], Turn("assistant", "")}, "<|im_end|>"},
		{"no assistant", chatMLUnmarked, two[:1], ""},
		{"thoughts of the last turn", stripsThoughts, []Message{two[0], Turn("assistant", "<think>x</think>b")}, "<think>x</think>b<eot>"},

		{"thoughts of earlier turns go", stripsThoughts, []Message{two[0], Turn("assistant", "<think>x</think>b"), two[2]}, "error messages[1]: the template prints this turn in another way"},
		{"eos of the last turn only", onlyLastEos, two, "error messages[1]: the template"},
		{"another end in the last turn", returnsAtEnd, two, "error messages[1]: the template prints this turn in another way"},
		{"no end-of-turn", noEnd, two, "error messages[1]: the template ends this turn without an end-of-turn token"},
		{"assistant first, refused", "{{ messages[0].role }}{{ messages[1].role }}<e>", []Message{two[1], two[0]}, "error messages[0]: a conversation that begins with the assistant"},
	} {
		template, err := Parse(c.source)
		if err != nil {
			t.Fatal(err)
		}
		for _, special := range [][]string{nil, {"<|im_start|>", "<|im_end|>", "<|end|>", "<eot>", "</s>", "<s>"}} {
			if c.name == "end-of-turn that is a word" && special != nil {
				continue
			}
			checkSpans(t, c.name, template.With(map[string]string{"bos_token": "<s>", "eos_token": "</s>"}, special), c.messages, c.want)
		}
	}
}

func checkSpans(t *testing.T, name string, template *Template, messages []Message, want string) {
	t.Helper()
	s, err := template.Spans(context.Background(), Vars{Messages: messages})
	if text, wrong := strings.CutPrefix(want, "error "); wrong {
		if err == nil || !strings.HasPrefix(err.Error(), text) {
			t.Errorf("%s: error %v, want %s", name, err, text)
		}
		return
	}
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	var got []string
	for _, span := range s.Spans {
		got = append(got, s.Text[span[0]:span[1]])
	}
	if strings.Join(got, "|") != want {
		t.Errorf("%s: %q, want %q", name, got, want)
	}
}

func TestMarksMustHoldTheEnd(t *testing.T) {
	const around = "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}INNER{% else %}{{ m.content }}<eot>{% endif %}{% endfor %}"
	for inner, want := range map[string]string{
		"{% generation %}{{ m.content }}<eot>{% endgeneration %}":                                         "b<eot>|d é\n<eot>",
		"{% generation %}{{ m.content }}<eot>\n{% endgeneration %}":                                       "b<eot>\n|d é\n<eot>\n",
		"{% generation %}{{ m.content }}{% endgeneration %}{% generation %}<eot>{% endgeneration %}":      "b|<eot>|d é\n|<eot>",
		"{% generation %}{{ m.content }}{% endgeneration %}<eot>":                                         "error turn 1 of the assistant: its end-of-turn token <eot> is outside",
		"{% set x %}{% generation %}{{ m.content }}<eot>{% endgeneration %}{% endset %}{{ x }}":           "b<eot>|d é\n<eot>",
		"{% macro f() %}[{% generation %}{{ m.content }}]<eot>{% endgeneration %}{% endmacro %}{{ f() }}": "b]<eot>|d é\n]<eot>",
		"{% set x %}{% generation %}{{ m.content }}<eot>{% endgeneration %}{% endset %}{{ x }}{{ x }}":    "error template:1: the template marks what the assistant writes inside a macro",
	} {
		template, err := Parse(strings.Replace(around, "INNER", inner, 1))
		if err != nil {
			t.Fatal(err)
		}
		checkSpans(t, inner, template, []Message{Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c"), Turn("assistant", "d é\n")}, want)
	}
}
