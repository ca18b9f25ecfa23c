package chat

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hone-ml/hone/internal/bounded"
	"github.com/hone-ml/hone/internal/chat/jinja"
	"github.com/hone-ml/hone/internal/ordjson"
)

// specialNames are the named special tokens that transformers gives templates as variables.
var specialNames = []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

// maxFile bounds the JSON files of a model's tokenizer, in bytes.
const maxFile = 512 << 20

// Load reads the chat template of a model folder: chat_template.jinja (with additional_chat_templates/tool_use.jinja),
// else chat_template.json, else tokenizer_config.json's chat_template, which may be a list of named ones.
// A model without any gets plain, with Substituted set: the caller says so. Errors name the file.
func Load(dir string) (*Template, error) {
	config, err := readObject(dir, "tokenizer_config.json")
	if err != nil {
		return nil, err
	}
	sources, file, err := templateSources(dir, config)
	if err != nil {
		return nil, err
	}
	tokens, err := namedTokens(dir, config)
	if err != nil {
		return nil, err
	}
	special, err := specialTexts(dir, config, tokens)
	if err != nil {
		return nil, err
	}
	if len(sources) == 0 {
		t, err := Family("plain")
		if err != nil {
			return nil, err
		}
		t.Substituted = true
		return t.With(tokens, special), nil
	}
	source, ok := sources["default"]
	if !ok {
		return nil, fmt.Errorf("%s: several chat templates and none of them is named default", file)
	}
	t, err := Parse(source)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if source, ok := sources["tool_use"]; ok {
		if t.toolUse, err = Parse(source); err != nil {
			return nil, fmt.Errorf("%s: tool_use: %w", file, err)
		}
	}
	return t.With(tokens, special), nil
}

// Sources returns the sources of a model folder's chat templates by name, as they are written; none where there is none.
func Sources(dir string) (map[string]string, error) {
	config, err := readObject(dir, "tokenizer_config.json")
	if err != nil {
		return nil, err
	}
	sources, _, err := templateSources(dir, config)
	return sources, err
}

// templateSources gives the sources by name and the file that they are in.
func templateSources(dir string, config *ordjson.Object) (map[string]string, string, error) {
	sources := map[string]string{}
	file := filepath.Join(dir, "chat_template.jinja")
	switch b, err := bounded.ReadFile(file, jinja.MaxSource); {
	case err == nil:
		sources["default"] = string(b)
		named, err := filepath.Glob(filepath.Join(dir, "additional_chat_templates", "*.jinja"))
		if err != nil {
			return nil, "", err
		}
		for _, n := range named {
			b, err := bounded.ReadFile(n, jinja.MaxSource)
			if err != nil {
				return nil, "", err
			}
			sources[strings.TrimSuffix(filepath.Base(n), ".jinja")] = string(b)
		}
		return sources, file, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, "", err
	}
	file = filepath.Join(dir, "tokenizer_config.json")
	value, _ := config.Get("chat_template")
	legacy, err := readObject(dir, "chat_template.json")
	if err != nil {
		return nil, "", err
	}
	if v, ok := legacy.Get("chat_template"); ok {
		value, file = v, filepath.Join(dir, "chat_template.json")
	}
	switch v := value.(type) {
	case nil:
	case string:
		sources["default"] = v
	case []ordjson.Value:
		for i, item := range v {
			o, _ := item.(*ordjson.Object)
			if o == nil {
				return nil, "", fmt.Errorf("%s: chat_template[%d]: not an object", file, i)
			}
			name, ok := o.Text("name")
			source, ok2 := o.Text("template")
			if !ok || !ok2 {
				return nil, "", fmt.Errorf("%s: chat_template[%d]: needs name and template", file, i)
			}
			sources[name] = source
		}
	case *ordjson.Object:
		for _, m := range v.Members() {
			if source, ok := m.Value.(string); ok {
				sources[m.Key] = source
			}
		}
	default:
		return nil, "", fmt.Errorf("%s: chat_template: neither text nor a list", file)
	}
	return sources, file, nil
}

// namedTokens reads the special tokens by name: tokenizer_config.json, and special_tokens_map.json for those it lacks.
func namedTokens(dir string, config *ordjson.Object) (map[string]string, error) {
	older, err := readObject(dir, "special_tokens_map.json")
	if err != nil {
		return nil, err
	}
	tokens := map[string]string{}
	for _, name := range specialNames {
		for _, from := range []*ordjson.Object{config, older} {
			if v, ok := from.Get(name); ok {
				if text := tokenText(v); text != "" {
					tokens[name] = text
				}
				break
			}
		}
	}
	return tokens, nil
}

// tokenText is the text of a token, which is a string or an object with content.
func tokenText(v ordjson.Value) string {
	if o, ok := v.(*ordjson.Object); ok {
		text, _ := o.Text("content")
		return text
	}
	text, _ := v.(string)
	return text
}

// specialTexts gives the texts of all tokens that are special, longest first.
func specialTexts(dir string, config *ordjson.Object, named map[string]string) ([]string, error) {
	seen := map[string]bool{}
	add := func(o *ordjson.Object) {
		if special, _ := o.Get("special"); special == true {
			seen[tokenText(o)] = true
		}
	}
	for _, text := range named {
		seen[text] = true
	}
	if v, ok := config.Get("added_tokens_decoder"); ok {
		if decoder, ok := v.(*ordjson.Object); ok {
			for _, m := range decoder.Members() {
				if o, ok := m.Value.(*ordjson.Object); ok {
					add(o)
				}
			}
		}
	}
	file := filepath.Join(dir, "tokenizer.json")
	if added, err := addedTokens(file); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	} else {
		for _, item := range added {
			if o, ok := item.(*ordjson.Object); ok {
				add(o)
			}
		}
	}
	delete(seen, "")
	texts := make([]string, 0, len(seen))
	for text := range seen {
		texts = append(texts, text)
	}
	slices.SortFunc(texts, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	return texts, nil
}

// readObject reads a JSON object of the folder; an empty one where the file is not there.
func readObject(dir, name string) (*ordjson.Object, error) {
	file := filepath.Join(dir, name)
	b, err := bounded.ReadFile(file, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return ordjson.New(), nil
	}
	if err != nil {
		return nil, err
	}
	v, err := ordjson.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	o, ok := v.(*ordjson.Object)
	if !ok {
		return nil, fmt.Errorf("%s: not an object", file)
	}
	return o, nil
}
