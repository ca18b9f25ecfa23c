package chat

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Spans is a conversation as text with what the assistant writes in it.
type Spans struct {
	Text   string
	Spans  [][2]int // bytes [begin, end) of Text, ascending
	Marked bool     // the template marked them itself
}

// Spans renders a conversation and finds what the assistant writes.
//
// A template with {% generation %} says it itself. Without, a turn begins where the render of the messages before it,
// with the generation prompt, ends, and goes up to and with its end-of-turn token. That demands of a template that it
// prints a prefix of the conversation as a prefix of the text; one that does not is an error, and so is a turn whose
// end-of-turn token lies outside its span. Spans may be empty where the conversation has no turn of the assistant.
func (t *Template) Spans(ctx context.Context, v Vars) (*Spans, error) {
	v.GenerationPrompt = false
	r, err := t.renderer(v)
	if err != nil {
		return nil, err
	}
	marked := r.template.Marked()
	text, spans, err := r.render(ctx, len(r.messages), false, marked)
	if err != nil {
		return nil, err
	}
	s := &Spans{Text: text, Spans: spans, Marked: marked}
	end := r.template.end(ctx, r)
	if marked {
		return s, s.checkEnds(end)
	}
	for i, m := range v.Messages {
		if role, _ := m.Text("role"); role != "assistant" {
			continue
		}
		span, err := r.turn(ctx, text, i, end)
		if err != nil {
			return nil, fmt.Errorf("messages[%d]: %w", i, err)
		}
		s.Spans = append(s.Spans, span)
	}
	return s, nil
}

// ErrPrefix is what a template is told that prints a conversation's beginning in another way than the whole.
var ErrPrefix = errors.New("the template prints this turn in another way when the conversation goes on, " +
	"so that what the assistant wrote cannot be found: use a template with {% generation %} markers (template.set)")

// ErrEnd is a turn whose end is not among what trains.
var ErrEnd = errors.New("the template ends this turn without an end-of-turn token, so that a model would not learn to stop")

// endError is an ErrEnd of a template that marks what trains.
type endError struct {
	turn int
	end  string
}

func (e *endError) Error() string {
	return fmt.Sprintf("turn %d of the assistant: its end-of-turn token %s is outside what the template marks with {%% generation %%}", e.turn, e.end)
}

func (e *endError) Is(target error) bool { return target == ErrEnd }

// turn finds the span of message i in text by rendering the messages before it, and those with it.
func (r *renderer) turn(ctx context.Context, text string, i int, end string) ([2]int, error) {
	before, _, err := r.render(ctx, i, true, false)
	if err != nil {
		if i == 0 {
			return [2]int{}, fmt.Errorf("a conversation that begins with the assistant needs a template with {%% generation %%} markers: %w", err)
		}
		return [2]int{}, err
	}
	if !strings.HasPrefix(text, before) {
		return [2]int{}, ErrPrefix
	}
	with := text
	if i < len(r.messages)-1 {
		if with, _, err = r.render(ctx, i+1, false, false); err != nil {
			return [2]int{}, err
		}
	}
	// A template may close the conversation as a whole (an eos after the last turn), so the turn is what the two
	// renders share, up to the last end-of-turn token in it.
	shared := text[len(before):max(commonPrefix(text, with), len(before))]
	n := r.template.turnEnd(shared, end)
	if n == 0 {
		if len(shared) < len(with)-len(before) {
			return [2]int{}, ErrPrefix
		}
		return [2]int{}, ErrEnd
	}
	if n < len(shared) && strings.TrimSpace(with[len(before)+n:]) != "" && !closes(with[len(before)+n:], r.template.Special) {
		return [2]int{}, ErrPrefix
	}
	return [2]int{len(before), len(before) + n}, nil
}

// closes reports whether rest is what may follow a turn's end in the render that stops there: special tokens that
// close the conversation.
func closes(rest string, special []string) bool {
	for rest = strings.TrimSpace(rest); rest != ""; rest = strings.TrimSpace(rest) {
		found := ""
		for _, token := range special {
			if len(token) > len(found) && strings.HasPrefix(rest, token) {
				found = token
			}
		}
		if found == "" {
			found = tokenLike.FindString(rest)
		}
		if found == "" {
			return false
		}
		rest = rest[len(found):]
	}
	return true
}

func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// turnEnd gives the length of turn up to and with its end-of-turn token, 0 where it has none: end if it is among the
// tokens at the turn's end, else the last special token there.
func (t *Template) turnEnd(turn, end string) int {
	rest := strings.TrimRight(turn, whiteSpace)
	last := 0
	for {
		if end != "" && strings.HasSuffix(rest, end) {
			return len(rest)
		}
		token := t.tokenAtEnd(rest)
		if token == "" {
			break
		}
		if last == 0 {
			last = len(rest)
		}
		rest = strings.TrimRight(rest[:len(rest)-len(token)], whiteSpace)
	}
	if last == 0 && end != "" {
		// The shared text may stop in the midst of what follows the turn.
		if i := strings.LastIndex(turn, end); i >= 0 && !strings.Contains(strings.TrimSpace(turn[i+len(end):]), " ") {
			return i + len(end)
		}
	}
	return last
}

const whiteSpace = " \t\r\n"

func (t *Template) tokenAtEnd(s string) string {
	for _, token := range t.Special {
		if strings.HasSuffix(s, token) {
			return token
		}
	}
	return ""
}

// checkEnds refuses marks that leave the end-of-turn token out: the model would not learn to stop.
func (s *Spans) checkEnds(end string) error {
	if end == "" {
		return nil
	}
	for i, span := range s.Spans {
		rest := s.Text[span[1]:]
		if i+1 < len(s.Spans) {
			rest = s.Text[span[1]:s.Spans[i+1][0]]
		}
		if strings.HasPrefix(strings.TrimLeft(rest, whiteSpace), end) && !strings.HasSuffix(strings.TrimRight(s.Text[span[0]:span[1]], whiteSpace), end) {
			return &endError{i + 1, end}
		}
	}
	return nil
}

// endCache keeps a template's end-of-turn token, which depends on its special tokens alone.
type endCache struct {
	once sync.Once
	end  string
}

// tokenLike is how end-of-turn tokens are spelled where the tokenizer's are not known.
var tokenLike = regexp.MustCompile(`^(<[^<>\s]+>|\[/?[A-Z_]+\])`)

// EndOfTurn is the token that the template prints right after an answer; empty where it prints none.
func (t *Template) EndOfTurn(ctx context.Context, date time.Time) string {
	r, err := t.renderer(Vars{Messages: []Message{Turn("user", "question")}, Date: date})
	if err != nil {
		return ""
	}
	return t.end(ctx, r)
}

// end finds the end-of-turn token: what the template prints right after an answer.
func (t *Template) end(ctx context.Context, r *renderer) string {
	t.ends.once.Do(func() {
		const answer = "hone0answer"
		probe := &renderer{template: t, vars: r.vars, date: r.date}
		for _, m := range []Message{Turn("user", "question"), Turn("assistant", answer)} {
			v, err := message(m)
			if err != nil {
				return
			}
			probe.messages = append(probe.messages, v)
		}
		text, _, err := probe.render(ctx, 2, false, false)
		if err != nil {
			return
		}
		i := strings.LastIndex(text, answer)
		if i < 0 {
			return
		}
		after := strings.TrimLeft(text[i+len(answer):], whiteSpace)
		for _, token := range t.Special { // longest first
			if strings.HasPrefix(after, token) {
				t.ends.end = token
				return
			}
		}
		if token := tokenLike.FindString(after); token != "" {
			t.ends.end = token
		} else if word := strings.FieldsFunc(after, func(c rune) bool { return strings.ContainsRune(whiteSpace, c) }); len(word) > 0 {
			t.ends.end = word[0]
		}
	})
	return t.ends.end
}
