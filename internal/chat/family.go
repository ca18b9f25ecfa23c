package chat

import (
	"embed"
	"fmt"
	"slices"
	"strings"
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
