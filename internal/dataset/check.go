package dataset

import (
	"fmt"
	"strings"

	"github.com/hone-ml/hone/internal/chat"
	"github.com/hone-ml/hone/internal/ordjson"
)

// Check brings a row of a source into the form that this package promises, or says what is wrong with it. The row
// is changed in place.
//
// Roles that may be messages (messages, prompt, completion, chosen, rejected) are text or a list of messages;
// messages given as JSON text are parsed, ShareGPT's {from, value} becomes {role, content}. A label is a bool.
// NUL is refused: the tokenizer's C strings end there.
func (h *Header) Check(row Row) error {
	for _, role := range h.Format.Roles() {
		column := h.Columns[role]
		v, ok := row.Get(column)
		if !ok {
			return fmt.Errorf("no column %s", column)
		}
		v, err := checkRole(role, v)
		if err != nil {
			return fmt.Errorf("column %s: %w", column, err)
		}
		row.Set(column, v)
	}
	if err := h.sameForm(row); err != nil {
		return err
	}
	if column, ok := h.Columns["tools"]; ok {
		if v, ok := row.Get(column); ok {
			v, err := parsed(v)
			if err != nil {
				return fmt.Errorf("column %s: %w", column, err)
			}
			row.Set(column, v)
		}
	}
	for _, m := range row.Members() {
		if err := ordjson.Walk(m.Value, noNUL); err != nil {
			return fmt.Errorf("column %s: %w", m.Key, err)
		}
	}
	return nil
}

func noNUL(s string) error {
	if i := strings.IndexByte(s, 0); i >= 0 {
		return fmt.Errorf("NUL character after %q", tail(s[:i], 20))
	}
	return nil
}

func tail(s string, n int) string {
	if len(s) > n {
		s = "…" + strings.ToValidUTF8(s[len(s)-n:], "")
	}
	return s
}

func checkRole(role Role, v Value) (Value, error) {
	switch role {
	case "text":
		if _, ok := v.(string); !ok {
			return nil, fmt.Errorf("%s is not text", ordjson.Short(v))
		}
		return v, nil
	case "label":
		return checkLabel(v)
	case "messages":
		v, err := parsed(v)
		if err != nil {
			return nil, err
		}
		return checkMessages(v)
	default:
		if _, ok := v.(string); ok {
			return v, nil
		}
		return checkMessages(v)
	}
}

// sameForm refuses a row whose prompt is text and whose completion is messages, or the reverse: the two are one
// conversation.
func (h *Header) sameForm(row Row) error {
	var first Role
	for _, role := range h.Format.Roles() {
		if role == "label" {
			continue
		}
		if first == "" {
			first = role
			continue
		}
		_, a := h.Get(row, first).(string)
		if _, b := h.Get(row, role).(string); a != b {
			return fmt.Errorf("columns %s and %s: one is text, the other is messages", h.Columns[first], h.Columns[role])
		}
	}
	return nil
}

// parsed gives the value of JSON text that begins as a list, as CSV files hold messages, and any other value as it is.
func parsed(v Value) (Value, error) {
	s, ok := v.(string)
	if !ok || !strings.HasPrefix(strings.TrimLeft(s, " \t\r\n"), "[") {
		return v, nil
	}
	return ordjson.Parse([]byte(s))
}

func checkLabel(v Value) (Value, error) {
	switch v := v.(type) {
	case bool:
		return v, nil
	case ordjson.Number:
		switch v {
		case "1", "1.0":
			return true, nil
		case "0", "0.0":
			return false, nil
		}
	case string:
		switch strings.ToLower(strings.TrimSpace(v)) {
		case "true", "1":
			return true, nil
		case "false", "0":
			return false, nil
		}
	}
	return nil, fmt.Errorf("%s is neither true nor false", ordjson.Short(v))
}

func checkMessages(v Value) (Value, error) {
	list, ok := v.([]Value)
	if !ok {
		return nil, fmt.Errorf("%s is neither text nor a list of messages", ordjson.Short(v))
	}
	out := make([]Value, len(list))
	for i, turn := range list {
		m, err := checkMessage(turn)
		if err != nil {
			return nil, fmt.Errorf("turn %d %w", i+1, err)
		}
		out[i] = m
	}
	return out, nil
}

// checkMessage returns the message with role and content first and without null fields.
func checkMessage(v Value) (Value, error) {
	given, ok := v.(*ordjson.Object)
	if !ok {
		return nil, fmt.Errorf("is %s, not an object with role and content", ordjson.Short(v))
	}
	given, err := fromShareGPT(given)
	if err != nil {
		return nil, err
	}
	role, err := chat.Role(given)
	if err != nil {
		return nil, err
	}
	m := ordjson.New(ordjson.Member{Key: "role", Value: role})
	switch content, _ := given.Get("content"); content := content.(type) {
	case string, []Value:
		m.Set("content", content)
	case nil: // an assistant turn that calls tools or only reasons has none
		if err := chat.CheckContent(given); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("has %s as content, neither text nor a list of parts", ordjson.Short(content))
	}
	for _, field := range given.Members() {
		if field.Value != nil {
			m.Set(field.Key, field.Value)
		}
	}
	return m, nil
}

// shareGPT is the roles of ShareGPT's "from".
var shareGPT = map[string]string{
	"system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant",
	"chatgpt": "assistant", "bing": "assistant", "bard": "assistant", "tool": "tool", "observation": "tool", "function_response": "tool",
}

// fromShareGPT turns {from, value} into {role, content} and leaves other objects as they are.
func fromShareGPT(m *ordjson.Object) (*ordjson.Object, error) {
	from, ok := m.Text("from")
	value, has := m.Get("value")
	if _, modern := m.Get("role"); !ok || !has || modern {
		return m, nil
	}
	role, ok := shareGPT[from]
	if !ok {
		return nil, fmt.Errorf("is from %q, which names no role: it is one of system, human, gpt, tool", from)
	}
	out := ordjson.New(ordjson.Member{Key: "role", Value: role}, ordjson.Member{Key: "content", Value: value})
	for _, field := range m.Members() {
		if field.Key != "from" && field.Key != "value" {
			out.Set(field.Key, field.Value)
		}
	}
	return out, nil
}
