package chat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Encoder turns text into token ids, each with the bytes of text that it stands for. addSpecial adds what the
// tokenizer puts around a text (a bos token, say), with empty offsets.
type Encoder interface {
	Encode(text string, addSpecial bool) (ids []int32, offsets [][2]int, err error)
}

// Which tokens train. Default is TRL's choice: the completion of a row that has one, else all.
const (
	LossDefault    = ""
	LossAssistant  = "assistant"
	LossCompletion = "completion"
	LossAll        = "all"
)

// ErrNothing is a row of which no token trains.
var ErrNothing = errors.New("nothing in this row trains")

// Encoded is a row as tokens. Mask says which of them train; it is judged before truncation.
type Encoded struct {
	IDs  []int32
	Mask []bool
	// Diverged is set where the prompt's tokens are not a prefix of the whole row's: the completion then starts where
	// they part, as in TRL, and the model is trained on a context that it does not see when it answers.
	Diverged bool
}

// Encode makes a row's ids and mask. The rules are TRL's SFTTrainer's:
//
//	messages             the rendered text, whose template writes special tokens itself
//	prompt + completion  conversations: the same for both joined; the prompt, with the generation prompt, is what the
//	                     ids of both share. Text: both joined with the tokenizer's own special tokens, and eos at the end
//	text                 as it stands, with the tokenizer's own special tokens, and eos at the end
//
// Under LossAssistant the assistant's turns train (those of the completion where there is one): see Template.Spans.
// A row without trained tokens is an error, and so is a turn whose end-of-turn token does not train. Errors do not
// name the row.
func Encode(ctx context.Context, t *Template, enc Encoder, row *Row, loss string, date time.Time) (*Encoded, error) {
	switch loss {
	case LossDefault:
		loss = LossAll
		if row.Kind == PromptedConversation || row.Kind == PromptedText {
			loss = LossCompletion
		}
	case LossAssistant:
		if row.Kind == PromptedText || row.Kind == PlainText {
			return nil, fmt.Errorf("loss %q needs messages", loss)
		}
	case LossCompletion:
		if row.Kind == Conversation || row.Kind == PlainText {
			return nil, fmt.Errorf("loss %q needs prompt and completion", loss)
		}
	case LossAll:
	default:
		return nil, fmt.Errorf("unknown loss %q", loss)
	}
	if err := row.Check(); err != nil {
		return nil, err
	}
	var e *Encoded
	var err error
	if row.Kind == PromptedText || row.Kind == PlainText {
		e, err = encodeText(t, enc, row, loss)
	} else {
		e, err = encodeConversation(ctx, t, enc, row, loss, date)
	}
	if err != nil {
		return nil, err
	}
	if !slices.Contains(e.Mask, true) {
		if loss == LossAssistant {
			return nil, fmt.Errorf("no assistant turn: %w", ErrNothing)
		}
		return nil, ErrNothing
	}
	return e, nil
}

func encodeConversation(ctx context.Context, t *Template, enc Encoder, row *Row, loss string, date time.Time) (*Encoded, error) {
	for _, part := range []struct {
		path     string
		messages []Message
	}{{"messages", row.Messages}, {"prompt", row.Prompt}, {"completion", row.Completion}} {
		if err := t.CheckRoles(part.messages); err != nil {
			return nil, fmt.Errorf("%s%w", part.path, err)
		}
	}
	v := row.Vars(date)
	var s *Spans
	var err error
	if loss == LossAssistant {
		s, err = t.Spans(ctx, v)
	} else {
		s = &Spans{}
		s.Text, err = t.Render(ctx, v)
	}
	if err != nil {
		return nil, err
	}
	ids, offsets, err := enc.Encode(s.Text, false)
	if err != nil {
		return nil, err
	}
	e := &Encoded{IDs: ids, Mask: filled(len(ids), loss != LossAssistant)}
	for _, span := range s.Spans {
		if err := e.train(offsets, span); err != nil {
			return nil, err
		}
	}
	if row.Kind == PromptedConversation && loss != LossAll {
		v.Messages, v.GenerationPrompt = row.Prompt, true
		prompt, err := t.Render(ctx, v)
		if err != nil {
			return nil, within("prompt", err)
		}
		promptIDs, _, err := enc.Encode(prompt, false)
		if err != nil {
			return nil, within("prompt", err)
		}
		e.mask(promptIDs)
	}
	return e, nil
}

func encodeText(t *Template, enc Encoder, row *Row, loss string) (*Encoded, error) {
	text := row.Text
	if row.Kind == PromptedText {
		text = row.CompletionText
	}
	if eos := t.Tokens["eos_token"]; !strings.HasSuffix(text, eos) {
		text += eos
	}
	ids, _, err := enc.Encode(row.PromptText+text, true)
	if err != nil {
		return nil, err
	}
	e := &Encoded{IDs: ids, Mask: filled(len(ids), true)}
	if row.Kind == PromptedText && loss != LossAll {
		promptIDs, _, err := enc.Encode(row.PromptText, true)
		if err != nil {
			return nil, within("prompt", err)
		}
		e.mask(promptIDs)
	}
	return e, nil
}

// train sets the mask from the first to the last token that has bytes of the span.
func (e *Encoded) train(offsets [][2]int, span [2]int) error {
	first, last := -1, -1
	for i, o := range offsets {
		if o[0] < span[1] && o[1] > span[0] {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	if first < 0 {
		if span[0] == span[1] {
			return nil
		}
		return fmt.Errorf("bytes %d to %d, which the assistant writes, have no tokens", span[0], span[1])
	}
	for i := first; i <= last; i++ {
		e.Mask[i] = true
	}
	return nil
}

// mask takes the tokens that the row shares with its prompt out of training.
func (e *Encoded) mask(prompt []int32) {
	n := 0
	for n < len(prompt) && n < len(e.IDs) && prompt[n] == e.IDs[n] {
		e.Mask[n] = false
		n++
	}
	e.Diverged = n < len(prompt)
}

// Truncate keeps the first n tokens (all where n is 0) and reports whether any of them still trains.
func (e *Encoded) Truncate(n int) bool {
	if n > 0 && len(e.IDs) > n {
		e.IDs, e.Mask = e.IDs[:n:n], e.Mask[:n:n]
	}
	return slices.Contains(e.Mask, true)
}

func filled(n int, v bool) []bool {
	mask := make([]bool, n)
	for i := range mask {
		mask[i] = v
	}
	return mask
}
