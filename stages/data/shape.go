package data

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hone-ml/hone/internal/chat"
	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/ordjson"
)

// shape is what a user calls rows of a format, and which kinds train on them.
var shape = map[dataset.Format]struct{ name, taken string }{
	dataset.Messages:         {"conversations", "train.sft takes"},
	dataset.Preference:       {"preference rows", "train.dpo takes"},
	dataset.KTO:              {"labelled rows", `train.dpo with loss: "kto" takes`},
	dataset.PromptCompletion: {"prompts with completions", "train.sft takes"},
	dataset.Prompt:           {"prompt rows", "train.grpo or curate.distill take"},
	dataset.Text:             {"plain text", "model.pretrain or train.sft take"},
}

// Shape is what a user calls rows of a format.
func Shape(f dataset.Format) string { return shape[f].name }

// Taught is the formats whose rows say what a model is to answer: those of train.sft, and of what measures a likelihood.
var Taught = []dataset.Format{dataset.Messages, dataset.PromptCompletion, dataset.Text, dataset.KTO}

// WithPrompt is the formats whose rows have a prompt.
var WithPrompt = []dataset.Format{dataset.Prompt, dataset.Messages, dataset.PromptCompletion, dataset.KTO, dataset.Preference}

// Wants refuses rows of a format that what reads them cannot use: what they are, which kind takes them, and what would do here.
// It is for before a model is loaded.
func Wants(reader string, have dataset.Format, want ...dataset.Format) error {
	if slices.Contains(want, have) {
		return nil
	}
	it := "them"
	if have == dataset.Text {
		it = "it"
	}
	var would []string
	for _, f := range want[:min(len(want), 3)] { // the usual ones come first
		would = append(would, fmt.Sprintf("%s (%s)", shape[f].name, strings.Join(f.Roles(), ", ")))
	}
	message := fmt.Sprintf("these are %s (%s): %s %s; %s takes %s", shape[have].name, strings.Join(have.Roles(), ", "), shape[have].taken, it,
		reader, strings.Join(would, ", or "))
	if slices.Equal(want, []dataset.Format{dataset.Text}) {
		message += "; data.load with columns: {text: NAME} reads a column as text"
	}
	return errors.New(message)
}

// Trains refuses a loss that no row of a format has anything for.
func Trains(loss string, have dataset.Format) error {
	switch {
	case loss == chat.LossCompletion && have == dataset.Messages:
		return fmt.Errorf("%q trains the completions of rows with prompt and completion; these are conversations (messages): "+
			"%q trains the assistant's turns, %q the whole of them", loss, chat.LossAssistant, chat.LossAll)
	case loss != chat.LossAll && have == dataset.Text:
		return fmt.Errorf("%q trains a part of a row; these are plain text (text): %q trains it", loss, chat.LossAll)
	}
	return nil
}

// AnswerRoles are the roles of a row's answers; other formats than that of the loss are refused.
func AnswerRoles(have dataset.Format, kto bool) ([]string, error) {
	if kto {
		return []string{"completion"}, Wants(`loss "kto"`, have, dataset.KTO)
	}
	return []string{"chosen", "rejected"}, Wants("this loss", have, dataset.Preference)
}

// AnswerRow is the row with the answer of this role as its completion.
func AnswerRow(h *dataset.Header, row dataset.Row, role string) (*chat.Row, error) {
	return chat.NewRow(func(column string) ordjson.Value {
		if column == "completion" {
			column = role
		}
		return h.Get(row, column)
	})
}

// Empty refuses text without a character, and messages that say nothing.
func Empty(role string, v ordjson.Value) error {
	said := false
	switch v := v.(type) {
	case string:
		said = v != ""
	case []ordjson.Value:
		for _, turn := range v {
			m, ok := turn.(*ordjson.Object)
			if !ok {
				return nil // told by what reads messages
			}
			content, _ := m.Get("content")
			text, plain := content.(string)
			said = said || plain && text != "" || content != nil && !plain || m.Len() > 2 // tool calls, say
		}
	}
	if !said {
		return fmt.Errorf("%s: empty", role)
	}
	return nil
}
