package dataset

import "github.com/hone-ml/hone/internal/ordjson"

// Texts returns the text of a row: of each of its format's roles the text, or the content of every message.
func (h *Header) Texts(row Row) []string {
	var texts []string
	for _, role := range h.Format.Roles() {
		if role != "label" {
			texts = append(texts, TextsOf(h.Get(row, role))...)
		}
	}
	return texts
}

// TextsOf returns the text of a column's value: itself, a number or a bool as it is written, or every message's content.
func TextsOf(v Value) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []Value:
		var texts []string
		for _, turn := range v {
			m, ok := turn.(*ordjson.Object)
			if !ok {
				texts = append(texts, TextsOf(turn)...)
				continue
			}
			if content, ok := m.Get("content"); ok {
				texts = append(texts, TextsOf(content)...)
			} else if part, ok := m.Text("text"); ok { // a part of a message's content
				texts = append(texts, part)
			}
		}
		return texts
	case nil:
		return nil
	default:
		return []string{string(ordjson.Append(nil, v))}
	}
}
