// Package chat turns conversations into the text, the token ids and the loss mask that a model is trained on.
//
//	message     an object with role and content, keys in order
//	template    Jinja that prints messages as text; a model brings it in chat_template.jinja
//	turn        a message of the assistant, as the template prints it
//	generation prompt  what the template prints to have the assistant begin
//	end-of-turn token  what the model writes when it has finished
//	span        bytes of the text that the assistant writes: the tokens that train under loss "assistant"
//	row         messages, or prompt and completion, or text: what a dataset holds
//	ids, mask   a row as token ids, and which of them train: made by one function, Encode
//
// Text equals what transformers' apply_chat_template gives, and ids what TRL's SFTTrainer makes of them.
// internal/chat/jinja renders; nothing here runs code, and every render is bounded in time and output.
package chat

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hone-ml/hone/internal/chat/jinja"
	"github.com/hone-ml/hone/internal/ordjson"
)

// Message is an object with role and, mostly, content.
type Message = *ordjson.Object

// Turn returns a message of plain text.
func Turn(role, content string) Message {
	return ordjson.New(ordjson.Member{Key: "role", Value: role}, ordjson.Member{Key: "content", Value: content})
}

// Vars is what a template is rendered over.
type Vars struct {
	Messages         []Message
	Tools            ordjson.Value   // a list of JSON schemas, or nil
	Documents        ordjson.Value   // a list of objects, or nil
	GenerationPrompt bool            // have the assistant begin
	Extra            *ordjson.Object // further variables (enable_thinking); they win over special tokens; may be nil
	Date             time.Time       // what strftime_now reads; the zero time is DefaultDate
}

// DefaultDate is the day that templates read where none is given: a fixed one, so that equal inputs give equal bytes.
var DefaultDate = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// Template is a model's chat template. It is safe for concurrent use; its fields are read only.
type Template struct {
	Source      string
	Tokens      map[string]string // named special tokens, variables of the template: "eos_token" → "<|im_end|>"
	Special     []string          // texts of all special tokens, where they are known
	Substituted bool              // the model has no template: this is plain
	Limits      jinja.Limits      // of each render; zero fields are jinja.DefaultLimits

	compiled *jinja.Template
	family   bool      // hone's own source, which prints content that is text alone
	toolUse  *Template // used when there are tools
	ends     endCache
}

// Parse compiles a template's source. It has no special tokens: see With.
func Parse(source string) (*Template, error) {
	if err := checkText(source); err != nil {
		return nil, err
	}
	compiled, err := jinja.Parse(source)
	if err != nil {
		return nil, err
	}
	return &Template{Source: source, compiled: compiled, family: isFamily(source)}, nil
}

// With returns the template with these named special tokens (which may be nil) and texts of special tokens.
func (t *Template) With(tokens map[string]string, special []string) *Template {
	c := &Template{Source: t.Source, Tokens: tokens, Special: special, Substituted: t.Substituted, Limits: t.Limits, compiled: t.compiled, family: t.family}
	if t.toolUse != nil {
		c.toolUse = t.toolUse.With(tokens, special)
	}
	return c
}

// Marked reports whether the template says itself, with {% generation %}, what the assistant writes.
func (t *Template) Marked() bool { return t.compiled.HasGeneration() }

// Render gives the text of a conversation. Errors that the template raises are *jinja.Error.
func (t *Template) Render(ctx context.Context, v Vars) (string, error) {
	r, err := t.renderer(v)
	if err != nil {
		return "", err
	}
	text, _, err := r.render(ctx, len(v.Messages), v.GenerationPrompt, false)
	return text, err
}

// renderer holds the converted variables, since prefixes of one conversation are rendered too.
type renderer struct {
	template *Template
	messages []jinja.Value
	vars     map[string]jinja.Value
	date     time.Time
}

func (t *Template) renderer(v Vars) (*renderer, error) {
	if len(v.Messages) == 0 {
		return nil, errors.New("no messages")
	}
	if t.toolUse != nil && v.Tools != nil {
		t = t.toolUse
	}
	r := &renderer{template: t, vars: map[string]jinja.Value{}, date: v.Date}
	if r.date.IsZero() {
		r.date = DefaultDate
	}
	for i, m := range v.Messages {
		if t.family {
			var err error
			if m, err = textContent(m); err != nil {
				return nil, fmt.Errorf("turn %d: %w", i+1, err)
			}
		}
		value, err := message(m)
		if err != nil {
			return nil, fmt.Errorf("messages[%d]: %w", i, err)
		}
		r.messages = append(r.messages, value)
	}
	for name, token := range t.Tokens {
		r.vars[name] = token
	}
	var err error
	if v.Extra != nil {
		for _, m := range v.Extra.Members() {
			if r.vars[m.Key], err = convert(m.Value); err != nil {
				return nil, fmt.Errorf("%s: %w", m.Key, err)
			}
		}
	}
	if r.vars["tools"], err = objects(v.Tools); err != nil {
		return nil, fmt.Errorf("tools: %w", err)
	}
	if r.vars["documents"], err = objects(v.Documents); err != nil {
		return nil, fmt.Errorf("documents: %w", err)
	}
	return r, nil
}

// render renders the first n messages.
func (r *renderer) render(ctx context.Context, n int, generationPrompt, mark bool) (string, [][2]int, error) {
	vars := maps.Clone(r.vars)
	vars["messages"] = jinja.NewList(slices.Clip(r.messages[:n])...)
	vars["add_generation_prompt"] = generationPrompt
	text, marked, err := r.template.compiled.Render(ctx, vars, jinja.Options{Limits: r.template.Limits, Now: r.date, Mark: mark})
	if err != nil {
		return "", nil, err
	}
	var spans [][2]int
	for _, s := range marked {
		spans = append(spans, [2]int{s.Start, s.End})
	}
	return text, spans, nil
}
