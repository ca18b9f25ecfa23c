package dataset

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hone-ml/hone/internal/ordjson"
)

// Answer is what a completion of the row is compared with: the column of this name; where that is "" the column with the role or the
// name answer, else the row's own completion or last assistant turn.
func (h *Header) Answer(row Row, name string) (string, error) {
	if name != "" {
		return column(row, name)
	}
	name, ok := h.Columns["answer"]
	if !ok {
		name = "answer"
	}
	if v, there := row.Get(name); there && v != nil || ok {
		return column(row, name)
	}
	switch h.Format {
	case Messages:
		return lastAssistant(h.Get(row, "messages"))
	case PromptCompletion:
		v := h.Get(row, "completion")
		if s, ok := v.(string); ok {
			return s, nil
		}
		return lastAssistant(v)
	}
	return "", errors.New("no column answer to compare with")
}

// Answerable refuses a dataset where no row can have what is compared with: the column, or where that is "" the row's answer.
func (d *Dataset) Answerable(column string) error {
	names := d.Names()
	if column != "" {
		if slices.Contains(names, column) {
			return nil
		}
		return fmt.Errorf("no column %s to compare with; there is %s", column, strings.Join(names, ", "))
	}
	if _, ok := d.Columns["answer"]; ok || slices.Contains(names, "answer") || d.Format == Messages || d.Format == PromptCompletion {
		return nil
	}
	return fmt.Errorf("no column answer to compare with; there is %s: the grader's column: NAME takes another", strings.Join(names, ", "))
}

func column(row Row, name string) (string, error) {
	v, ok := row.Get(name)
	if !ok {
		return "", fmt.Errorf("no column %s to compare with", name)
	}
	switch v := v.(type) {
	case string:
		return v, nil
	case ordjson.Number:
		return string(v), nil
	case bool:
		return fmt.Sprint(v), nil
	case nil:
		return "", fmt.Errorf("column %s is null: nothing to compare with", name)
	}
	return "", fmt.Errorf("column %s is neither text nor a number", name)
}

func lastAssistant(v Value) (string, error) {
	turns, _ := v.([]Value)
	if len(turns) > 0 {
		turn, _ := turns[len(turns)-1].(*ordjson.Object)
		if turn != nil {
			if role, _ := turn.Text("role"); role == "assistant" {
				content, _ := turn.Get("content")
				return contentText(content)
			}
		}
	}
	return "", errors.New("neither a column answer nor a last assistant turn to compare with")
}

// contentText is a turn's text: the content, or its parts of type text.
func contentText(v Value) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case []Value:
		var b strings.Builder
		for _, part := range v {
			if o, ok := part.(*ordjson.Object); ok {
				s, _ := o.Text("text")
				b.WriteString(s)
			}
		}
		return b.String(), nil
	}
	return "", errors.New("the last assistant turn has no text to compare with")
}
