package grade

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/schemas"
)

// Answer returns what a completion of the row is compared with: the column that the grader names; else the column
// with the role or the name answer; else the row's own completion or last assistant turn.
func (g *Grader) Answer(row dataset.Row) (string, error) {
	if g.column != "" {
		return column(row, g.column)
	}
	return Answer(g.header, row)
}

// Answerable refuses a dataset where no row can have what the grader compares with. It is for before a model is loaded.
func Answerable(g schemas.Grader, d *dataset.Dataset) error {
	if column, compares := g.Reads(); compares {
		return d.Answerable(column)
	}
	return nil
}

// Answer is Grader.Answer for a grader that names no column, and what reports show beside a completion.
func Answer(h *dataset.Header, row dataset.Row) (string, error) {
	name, ok := h.Columns["answer"]
	if !ok {
		name = "answer"
	}
	if v, there := row.Get(name); there && v != nil || ok {
		return column(row, name)
	}
	switch h.Format {
	case dataset.Messages:
		return lastAssistant(h.Get(row, "messages"))
	case dataset.PromptCompletion:
		v := h.Get(row, "completion")
		if s, ok := v.(string); ok {
			return s, nil
		}
		return lastAssistant(v)
	}
	return "", errors.New("no column answer to compare with")
}

func column(row dataset.Row, name string) (string, error) {
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

func lastAssistant(v dataset.Value) (string, error) {
	turns, _ := v.([]dataset.Value)
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
func contentText(v dataset.Value) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case []dataset.Value:
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
