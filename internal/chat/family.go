package chat

import (
	"embed"
	"fmt"
	"slices"
	"strings"

	"github.com/hone-ml/hone/internal/ordjson"
)

//go:embed families/*.jinja
var families embed.FS

// Families lists the templates that hone carries, by name.
func Families() []string {
	entries, err := families.ReadDir("families")
	if err != nil {
		panic(err) // embedded
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".jinja"))
	}
	slices.Sort(names)
	return names
}

// Family returns the template of that name, without special tokens. Each marks what the assistant writes and prints
// a turn alike wherever it stands in the conversation.
func Family(name string) (*Template, error) {
	b, err := families.ReadFile("families/" + name + ".jinja")
	if err != nil {
		return nil, fmt.Errorf("no template family %q: %s", name, strings.Join(Families(), ", "))
	}
	return Parse(string(b))
}

// isFamily reports whether a source is that of one of the families, as template.set writes it into a model.
func isFamily(source string) bool {
	return slices.ContainsFunc(Families(), func(name string) bool {
		b, err := families.ReadFile("families/" + name + ".jinja")
		return err == nil && string(b) == source
	})
}

// textContent joins content that is a list of text parts, as OpenAI writes it, to the text that the families print; they would
// print the list as Python does, or not at all. A model's own template gets the list, as from transformers.
func textContent(m Message) (Message, error) {
	content, _ := m.Get("content")
	list, ok := content.([]ordjson.Value)
	if !ok {
		return m, nil
	}
	var joined strings.Builder
	for i, item := range list {
		part, ok := item.(*ordjson.Object)
		if !ok {
			part = ordjson.New()
		}
		kind, _ := part.Text("type")
		text, said := part.Text("text")
		switch {
		case kind != "" && kind != "text":
			return nil, fmt.Errorf("content part %s: this template takes text alone", kind)
		case !said:
			return nil, fmt.Errorf("content part %d is not {\"type\": \"text\", \"text\": …}: this template takes text alone", i+1)
		}
		joined.WriteString(text)
	}
	m = m.Clone()
	m.Set("content", joined.String())
	return m, nil
}
