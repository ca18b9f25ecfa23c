package dataset

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/hone-ml/hone/internal/ordjson"
)

// ExtractPrompt gives a preference row whose prompt stands at the start of both answers a prompt of its own, and leaves the rest as
// the answers (TRL's extract_prompt): the turns, or the characters, that both begin with; a space before the first difference
// belongs to the answers. Where one answer is the start of the other, its last turn is still an answer.
func (h *Header) ExtractPrompt(row Row) error {
	for _, role := range []Role{"chosen", "rejected"} {
		if h.Get(row, role) == nil {
			return fmt.Errorf("no column %s", h.Columns[role])
		}
	}
	chosen, rejected := h.Get(row, "chosen"), h.Get(row, "rejected")
	if bytes.Equal(ordjson.Append(nil, chosen), ordjson.Append(nil, rejected)) {
		return errors.New("chosen and rejected are the same")
	}
	set := func(prompt, chosen, rejected Value) {
		row.Set(h.Columns["prompt"], prompt)
		row.Set(h.Columns["chosen"], chosen)
		row.Set(h.Columns["rejected"], rejected)
	}
	switch a := chosen.(type) {
	case string:
		b, ok := rejected.(string)
		if !ok {
			return nil
		}
		x, y := []rune(a), []rune(b)
		n := common(len(x), len(y), func(i int) bool { return x[i] == y[i] })
		if n > 0 && x[n] != y[n] && x[n-1] == ' ' {
			n--
		}
		if n > 0 {
			set(string(x[:n]), string(x[n:]), string(y[n:]))
			return nil
		}
	case []Value:
		b, ok := rejected.([]Value)
		if !ok {
			return nil
		}
		n := common(len(a), len(b), func(i int) bool { return bytes.Equal(ordjson.Append(nil, a[i]), ordjson.Append(nil, b[i])) })
		if n > 0 {
			set(a[:n:n], a[n:], b[n:])
			return nil
		}
	default:
		return nil
	}
	return errors.New("there is no prompt, and chosen and rejected begin with nothing in common")
}

// common is how many items two lists of n and m begin with, leaving one of the shorter.
func common(n, m int, same func(i int) bool) int {
	i := 0
	for i < min(n, m)-1 && same(i) {
		i++
	}
	return i
}
