package chat

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// folder writes a model folder: path → content.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLoad(t *testing.T) {
	user := Vars{Messages: []Message{Turn("user", "u")}}
	withTools := user
	withTools.Tools = []any{}
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string // render, and render with tools
	}{
		{"file", map[string]string{"chat_template.jinja": "file {{ eos_token }}", "tokenizer_config.json": `{"chat_template": "config", "eos_token": "E"}`}, "file E|file E"},
		{"config", map[string]string{"tokenizer_config.json": `{"chat_template": "config {{ bos_token }}", "bos_token": {"content": "B", "special": true}, "eos_token": null}`}, "config B|config B"},
		{"named", map[string]string{"tokenizer_config.json": `{"chat_template": [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t{{ eos_token }}"}], "eos_token": "E"}`}, "d|tE"},
		{"named files", map[string]string{"chat_template.jinja": "d", "additional_chat_templates/tool_use.jinja": "t"}, "d|t"},
		{"processor", map[string]string{"chat_template.json": `{"chat_template": "p"}`}, "p|p"},
		{"older map", map[string]string{"chat_template.jinja": "{{ eos_token }}{{ pad_token is defined }}", "special_tokens_map.json": `{"eos_token": "E"}`}, "EFalse|EFalse"},
		{"none", map[string]string{"tokenizer_config.json": `{"eos_token": "E"}`}, "User: u\n\n|User: u\n\n"},
	} {
		template, err := Load(folder(t, c.files))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		a, err1 := template.Render(context.Background(), user)
		b, err2 := template.Render(context.Background(), withTools)
		if err1 != nil || err2 != nil || a+"|"+b != c.want {
			t.Errorf("%s: %q, want %q (%v, %v)", c.name, a+"|"+b, c.want, err1, err2)
		}
		if template.Substituted != (c.name == "none") {
			t.Errorf("%s: substituted %v", c.name, template.Substituted)
		}
	}
}

func TestLoadFindsSpecialTokens(t *testing.T) {
	template, err := Load(folder(t, map[string]string{
		"chat_template.jinja":   "x",
		"tokenizer_config.json": `{"eos_token": "<e>", "added_tokens_decoder": {"5": {"content": "<five>", "special": true}, "6": {"content": "six", "special": false}}}`,
		"tokenizer.json":        `{"version": "1.0", "model": {"vocab": {"\ud800": 1}}, "added_tokens": [{"id": 7, "content": "<seven>", "special": true}, {"id": 8, "content": "eight"}]}`,
	}))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"<seven>", "<five>", "<e>"}; !slices.Equal(template.Special, want) {
		t.Errorf("special tokens %q, want %q", template.Special, want)
	}
}

func TestLoadRefuses(t *testing.T) {
	for want, files := range map[string]map[string]string{
		"chat_template.jinja: template:1: ":                      {"chat_template.jinja": "{% if %}"},
		"tokenizer_config.json: ":                                {"tokenizer_config.json": "{"},
		"tokenizer_config.json: not an object":                   {"tokenizer_config.json": "[]"},
		"tokenizer_config.json: chat_template[0]: not an object": {"tokenizer_config.json": `{"chat_template": [1]}`},
		"tokenizer_config.json: several chat templates":          {"tokenizer_config.json": `{"chat_template": [{"name": "a", "template": "b"}]}`},
		"tokenizer.json: ":                                       {"chat_template.jinja": "x", "tokenizer.json": `{"a": [`},
	} {
		_, err := Load(folder(t, files))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v, want %s", files, err, want)
		}
	}
}
