package chat

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hone-ml/hone/internal/near"
	"github.com/hone-ml/hone/internal/ordjson"
)

// Row is one row to train on: Messages; or Prompt and Completion; or PromptText and CompletionText; or Text.
type Row struct {
	Messages                   []Message
	Prompt, Completion         []Message
	PromptText, CompletionText string
	Text                       string
	Kind                       RowKind

	Tools ordjson.Value   // of conversations
	Extra *ordjson.Object // further variables of the template, TRL's chat_template_kwargs
}

// RowKind says which fields of a Row are set.
type RowKind int

// The kinds of rows.
const (
	Conversation         RowKind = iota // Messages
	PromptedConversation                // Prompt, Completion
	PromptedText                        // PromptText, CompletionText
	PlainText                           // Text
)

// NewRow reads a row by TRL's columns: messages; prompt and completion; text; beside them tools (a list, or JSON text
// of one) and chat_template_kwargs. get gives a column's value, nil where there is none.
func NewRow(get func(column string) ordjson.Value) (*Row, error) {
	r := &Row{}
	var err error
	if r.Tools, err = tools(get("tools")); err != nil {
		return nil, fmt.Errorf("tools: %w", err)
	}
	if extra := get("chat_template_kwargs"); extra != nil {
		o, ok := extra.(*ordjson.Object)
		if !ok {
			return nil, errors.New("chat_template_kwargs: not an object")
		}
		r.Extra = o
	}
	messages, prompt, completion, text := get("messages"), get("prompt"), get("completion"), get("text")
	switch {
	case messages != nil:
		r.Kind = Conversation
		r.Messages, err = Messages(messages)
		return r, within("messages", err)
	case prompt != nil && completion != nil:
		p, ok1 := prompt.(string)
		c, ok2 := completion.(string)
		if ok1 && ok2 {
			r.Kind, r.PromptText, r.CompletionText = PromptedText, p, c
			return r, nil
		}
		r.Kind = PromptedConversation
		if r.Prompt, err = Messages(prompt); err != nil {
			return nil, within("prompt", err)
		}
		r.Completion, err = Messages(completion)
		return r, within("completion", err)
	case text != nil:
		s, ok := text.(string)
		if !ok {
			return nil, errors.New("text: not text")
		}
		r.Kind, r.Text = PlainText, s
		return r, nil
	}
	return nil, errors.New("no messages, no prompt and completion, and no text")
}

// Vars is what the template of the row's conversation is rendered over; without messages where the row is text.
func (r *Row) Vars(date time.Time) Vars {
	messages := r.Messages
	if r.Kind == PromptedConversation {
		messages = slices.Concat(r.Prompt, r.Completion)
	}
	return Vars{Messages: messages, Tools: r.Tools, Extra: r.Extra, Date: date}
}

func within(path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", path, err)
}

// TurnError is what is wrong with a turn of a conversation, which counts from one.
type TurnError struct {
	Turn int
	Err  error
}

func (e *TurnError) Error() string { return fmt.Sprintf("turn %d %v", e.Turn, e.Err) }

func (e *TurnError) Unwrap() error { return e.Err }

// Messages reads a list of messages: objects with a role, and with content unless something else is said.
func Messages(v ordjson.Value) ([]Message, error) {
	list, ok := v.([]ordjson.Value)
	if !ok {
		return nil, errors.New("not a list of messages")
	}
	if len(list) == 0 {
		return nil, errors.New("no messages")
	}
	messages := make([]Message, len(list))
	for i, item := range list {
		m, ok := item.(*ordjson.Object)
		if !ok {
			return nil, &TurnError{i + 1, errors.New("is not an object with role and content")}
		}
		if _, err := Role(m); err != nil {
			return nil, &TurnError{i + 1, err}
		}
		if err := CheckContent(m); err != nil {
			return nil, &TurnError{i + 1, err}
		}
		messages[i] = m
	}
	return messages, nil
}

// Role is a message's role. Errors follow the turn's name: "has no role".
func Role(m Message) (string, error) {
	switch role, _ := m.Get("role"); role := role.(type) {
	case nil:
		return "", errors.New("has no role")
	case string:
		if role == "" {
			return "", errors.New("has no role")
		}
		return role, nil
	}
	return "", errors.New("has a role that is not text")
}

// instead are the fields that say something where there is no content.
var instead = []string{"tool_calls", "function_call", "reasoning_content", "reasoning", "thinking"}

// CheckContent refuses a message without content that says nothing else: a misspelt content would train as an empty turn.
func CheckContent(m Message) error {
	if content, _ := m.Get("content"); content != nil {
		return nil
	}
	for _, name := range instead {
		switch v, _ := m.Get(name); v := v.(type) {
		case nil:
		case string:
			if v != "" {
				return nil
			}
		case []ordjson.Value:
			if len(v) > 0 {
				return nil
			}
		default:
			return nil
		}
	}
	for _, field := range m.Members() {
		if field.Key != "content" && near.Name(field.Key, []string{"content"}) != "" {
			return fmt.Errorf("has no content but %s (did you mean content?)", field.Key)
		}
	}
	return errors.New("has no content")
}

func tools(v ordjson.Value) (ordjson.Value, error) {
	text, ok := v.(string)
	if !ok {
		return v, nil
	}
	return ordjson.Parse([]byte(text))
}

// Check refuses text that tokenizers would cut (at a NUL) or replace.
func (r *Row) Check() error {
	for _, part := range []struct {
		path     string
		messages []Message
		text     string
	}{{"messages", r.Messages, ""}, {"prompt", r.Prompt, r.PromptText}, {"completion", r.Completion, r.CompletionText}, {"text", nil, r.Text}} {
		if err := checkText(part.text); err != nil {
			return within(part.path, err)
		}
		for i, m := range part.messages {
			if err := ordjson.Walk(m, checkText); err != nil {
				return fmt.Errorf("%s[%d]: %w", part.path, i, err)
			}
		}
	}
	return within("tools", ordjson.Walk(r.Tools, checkText))
}

func checkText(s string) error {
	if i := strings.IndexByte(s, 0); i >= 0 {
		return fmt.Errorf("NUL byte at byte %d", i)
	}
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return fmt.Errorf("invalid UTF-8 at byte %d", i)
			}
		}
	}
	return nil
}
