package chat

import (
	"strings"
	"testing"
	"time"
)

// Templates that print any role would print a misspelt one; another role is fine where the template names it.
func TestRolesThatNoTemplateKnows(t *testing.T) {
	family, err := Family("chatml")
	if err != nil {
		t.Fatal(err)
	}
	named, err := Parse(`{% for m in messages %}{% if m.role == "critic" %}C{% endif %}{{ m.content }}{% endfor %}`)
	if err != nil {
		t.Fatal(err)
	}
	conversation := func(role string) []Message { return []Message{Turn("user", "a"), Turn(role, "b")} }
	for _, role := range []string{"system", "developer", "user", "assistant", "tool"} {
		if err := family.CheckRoles(conversation(role)); err != nil {
			t.Errorf("%s: %v", role, err)
		}
	}
	if err := named.CheckRoles(conversation("critic")); err != nil {
		t.Error(err)
	}
	for _, row := range []*Row{
		{Kind: Conversation, Messages: conversation("asistant")},
		{Kind: PromptedConversation, Prompt: conversation("asistant"), Completion: []Message{Turn("assistant", "c")}},
	} {
		_, err = Encode(t.Context(), family, nil, row, LossAll, time.Time{})
		if err == nil || !strings.Contains(err.Error(), `[1]: role "asistant" is not one of system, developer, user, assistant, tool`) {
			t.Errorf("error %v", err)
		}
	}
}
