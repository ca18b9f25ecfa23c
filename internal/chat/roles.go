package chat

import (
	"fmt"
	"slices"
	"strings"
)

// known are the roles that templates share.
var known = []string{"system", "developer", "user", "assistant", "tool"}

// CheckRoles refuses messages of another role than those, unless the template names it. A template that prints any role,
// as ChatML's does, would print a misspelt one too, and the model would be trained on it without a word.
func (t *Template) CheckRoles(messages []Message) error {
	for i, m := range messages {
		if role, _ := m.Text("role"); !slices.Contains(known, role) && !t.names(role) {
			return fmt.Errorf("[%d]: role %q is not one of %s, and the template names no other of that name", i, role, strings.Join(known, ", "))
		}
	}
	return nil
}

// names reports whether a role stands as a string in the template's source.
func (t *Template) names(role string) bool {
	return strings.Contains(t.Source, `'`+role+`'`) || strings.Contains(t.Source, `"`+role+`"`) || t.toolUse != nil && t.toolUse.names(role)
}
