package dataset

import (
	"fmt"
	"slices"
	"strings"
)

// Detect finds the format of rows with these columns. Mapped gives roles to columns of other names; a column that is
// named as a role plays it where mapped gives it to no other. Where several formats fit, the first of messages,
// preference, kto, prompt-completion, prompt, text that has every mapped role is taken. Columns chosen and rejected without a
// prompt are preference, with a column prompt that is not there yet: see ExtractPrompt.
func Detect(columns []string, mapped map[Role]string) (Format, map[Role]string, error) {
	roles := map[Role]string{}
	taken := map[string]bool{}
	for role, column := range mapped {
		if !knownRole(role) {
			return "", nil, fmt.Errorf("columns.%s: no such role; there are %s", role, strings.Join(allRoles(), ", "))
		}
		if !slices.Contains(columns, column) {
			return "", nil, fmt.Errorf("columns.%s: no column %q; there are %s", role, column, strings.Join(columns, ", "))
		}
		roles[role] = column
		taken[column] = true
	}
	for _, role := range allRoles() {
		if _, ok := roles[role]; !ok && slices.Contains(columns, role) && !taken[role] {
			roles[role] = role
		}
	}
	implicit := has(roles, []Role{"chosen", "rejected"}) && !slices.Contains(columns, "prompt") && !slices.Contains(columns, "question") // see hints
	if _, ok := roles["prompt"]; !ok && implicit {
		roles["prompt"] = "prompt" // a column that ExtractPrompt makes
	}
	for _, f := range formats {
		if has(roles, f.roles) && coversMapped(f.roles, mapped) {
			used := map[Role]string{}
			for _, role := range append(slices.Clone(f.roles), optional...) {
				if column, ok := roles[role]; ok {
					used[role] = column
				}
			}
			return f.format, used, nil
		}
	}
	return "", nil, fmt.Errorf("no row format fits the columns %s%s", strings.Join(columns, ", "), hint(columns, mapped))
}

func has(roles map[Role]string, want []Role) bool {
	for _, role := range want {
		if _, ok := roles[role]; !ok {
			return false
		}
	}
	return true
}

func coversMapped(roles []Role, mapped map[Role]string) bool {
	for role := range mapped {
		if !slices.Contains(roles, role) && !slices.Contains(optional, role) {
			return false
		}
	}
	return true
}

func allRoles() []Role {
	return append([]Role{"messages", "prompt", "completion", "label", "chosen", "rejected", "text"}, optional...)
}

func knownRole(role Role) bool { return slices.Contains(allRoles(), role) }

// hints are the column names of well-known datasets and the line that reads them.
var hints = []struct {
	columns []string
	line    string
}{
	{[]string{"conversations"}, `columns: messages: "conversations"`},                                 // ShareGPT
	{[]string{"conversation"}, `columns: messages: "conversation"`},                                   //
	{[]string{"dialog"}, `columns: messages: "dialog"`},                                               //
	{[]string{"instruction", "output"}, `columns: {prompt: "instruction", completion: "output"}`},     // Alpaca
	{[]string{"instruction", "response"}, `columns: {prompt: "instruction", completion: "response"}`}, // Dolly
	{[]string{"question", "chosen", "rejected"}, `columns: prompt: "question"`},                       //
	{[]string{"question", "answer"}, `columns: {prompt: "question", completion: "answer"}`},           // GSM8K
	{[]string{"prompt", "response"}, `columns: completion: "response"`},                               //
	{[]string{"query", "response"}, `columns: {prompt: "query", completion: "response"}`},             //
	{[]string{"input", "output"}, `columns: {prompt: "input", completion: "output"}`},                 //
	{[]string{"question"}, `columns: prompt: "question"`},                                             //
	{[]string{"content"}, `columns: text: "content"`},                                                 //
}

// hint names the line to write for columns that are known from elsewhere.
func hint(columns []string, mapped map[Role]string) string {
	if len(mapped) == 0 {
		for _, h := range hints {
			if containsAll(columns, h.columns) {
				return "; write " + h.line
			}
		}
	}
	return "; write columns: ROLE: NAME for messages; prompt and completion (and label); prompt, chosen and rejected; prompt; or text"
}

func containsAll(all, want []string) bool {
	for _, w := range want {
		if !slices.Contains(all, w) {
			return false
		}
	}
	return true
}
