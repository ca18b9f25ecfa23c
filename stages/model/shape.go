package model

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hone-ml/hone/internal/chat"
	"github.com/hone-ml/hone/internal/dataset"
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

// taught is the formats whose rows say what a model is to answer: those of train.sft, and of what measures a likelihood.
var taught = []dataset.Format{dataset.Messages, dataset.PromptCompletion, dataset.Text, dataset.KTO}

// withPrompt is the formats whose rows have a prompt.
var withPrompt = []dataset.Format{dataset.Prompt, dataset.Messages, dataset.PromptCompletion, dataset.KTO, dataset.Preference}

// wants refuses rows of a format that what reads them cannot use: what they are, which kind takes them, and what would do here.
// It is for before a model is loaded.
func wants(reader string, have dataset.Format, want ...dataset.Format) error {
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

// trains refuses a loss that no row of a format has anything for.
func trains(loss string, have dataset.Format) error {
	switch {
	case loss == chat.LossCompletion && have == dataset.Messages:
		return fmt.Errorf("%q trains the completions of rows with prompt and completion; these are conversations (messages): "+
			"%q trains the assistant's turns, %q the whole of them", loss, chat.LossAssistant, chat.LossAll)
	case loss != chat.LossAll && have == dataset.Text:
		return fmt.Errorf("%q trains a part of a row; these are plain text (text): %q trains it", loss, chat.LossAll)
	}
	return nil
}
