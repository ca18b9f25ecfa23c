package main

import (
	"math/rand/v2"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/hone-ml/hone/internal/chat"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/ordjson"
)

// speakHelp is how generate and chat explain the choice of tokens.
const speakHelp = `Tokens are chosen greedily, as transformers' generate(do_sample=False) chooses them: until a token of
generation_config.json's eos_token_id, under its repetition_penalty, which --repetition-penalty replaces. --temperature,
--top-p, --top-k, --min-p or --seed draws them instead, at temperature 1 where none is given; what is not given is off
(transformers' own default of --top-k is 50). Thinking is off: the template gets enable_thinking false, which --vars
changes.`

// speakFlags are those of the verbs that talk to a model.
type speakFlags struct {
	modelFlags
	template    templateFlags // tools, vars and date
	system      string
	request     job.CompleteRequest // sampling and length
	temperature float64
}

func (f *speakFlags) register(c *cobra.Command, maxNewTokens int, names ...string) {
	r := &f.request
	c.Flags().StringVar(&f.system, "system", "", "a system message: `TEXT` before all others")
	c.Flags().StringVar(&f.template.tools, "tools", "", "JSON `FILE`: the tools that the template lists")
	c.Flags().StringVar(&f.template.vars, "vars", "", "JSON `FILE`: an object of further variables of the template")
	c.Flags().StringVar(&f.template.date, "date", "", "the `DAY` that templates read, YYYY-MM-DD (today)")
	c.Flags().IntVar(&r.MaxNewTokens, "max-new-tokens", maxNewTokens, "of an answer, at most")
	c.Flags().Float64Var(&f.temperature, "temperature", 1, "divides the logits; 0 is greedy")
	c.Flags().Float64Var(&r.TopP, "top-p", 1, "draw from the likeliest tokens whose probabilities reach this sum")
	c.Flags().IntVar(&r.TopK, "top-k", 0, "draw from this many of the likeliest tokens; 0 is all")
	c.Flags().Float64Var(&r.MinP, "min-p", 0, "draw from tokens at least this share as likely as the likeliest")
	c.Flags().Float64Var(&r.RepetitionPenalty, "repetition-penalty", 1, "divides the logits of tokens seen before (generation_config.json's)")
	c.Flags().Uint64Var(&r.Seed, "seed", 0, "of the draws (a new one each time)")
	f.modelFlags.register(c, names...)
}

// sampling judges the flags and decides whether tokens are drawn.
func (f *speakFlags) sampling(c *cobra.Command) error {
	r := &f.request
	switch {
	case r.MaxNewTokens < 1:
		return usage("--max-new-tokens %d: below 1", r.MaxNewTokens)
	case !(f.temperature >= 0 && f.temperature <= 1e6): // NaN too
		return usage("--temperature %g: below 0", f.temperature)
	case !(r.TopP > 0 && r.TopP <= 1):
		return usage("--top-p %g: not above 0 and at most 1", r.TopP)
	case r.TopK < 0:
		return usage("--top-k %d: below 0", r.TopK)
	case !(r.MinP >= 0 && r.MinP <= 1):
		return usage("--min-p %g: not from 0 to 1", r.MinP)
	case !(r.RepetitionPenalty > 0 && r.RepetitionPenalty <= 1e6):
		return usage("--repetition-penalty %g: not above 0", r.RepetitionPenalty)
	}
	if !c.Flags().Changed("repetition-penalty") {
		r.RepetitionPenalty = 0
	}
	for _, name := range []string{"temperature", "top-p", "top-k", "min-p", "seed"} {
		if c.Flags().Changed(name) {
			r.Temperature = f.temperature
		}
	}
	return nil
}

// newSeed gives a request whose tokens are drawn a seed where the user gave none, and tells whether it did.
func (f *speakFlags) newSeed(c *cobra.Command) bool {
	if f.request.Temperature == 0 || c.Flags().Changed("seed") {
		return false
	}
	f.request.Seed = rand.Uint64N(1 << 53) // every JSON reader reads it exactly
	return true
}

// variables reads what the template gets: messages where there are any to read, tools, date and further variables.
func (f *speakFlags) variables(c *cobra.Command) ([]chat.Message, error) {
	v, err := f.template.read(c.InOrStdin())
	if err != nil {
		return nil, err
	}
	if v.Tools != nil {
		f.request.Tools = ordjson.Append(nil, v.Tools)
	}
	extra := v.Extra
	if extra == nil {
		extra = ordjson.New()
	}
	if _, ok := extra.Get("enable_thinking"); !ok {
		extra = extra.Clone()
		extra.Set("enable_thinking", false)
	}
	f.request.Vars = ordjson.Append(nil, extra)
	f.request.Date = f.template.date
	return v.Messages, nil
}

// of is the request for the answer to a conversation.
func (f *speakFlags) of(messages []chat.Message) *job.CompleteRequest {
	r := f.request
	list := make([]ordjson.Value, len(messages))
	for i, m := range messages {
		list[i] = m
	}
	r.Messages = ordjson.Append(nil, list)
	return &r
}

// withSystem puts a system message before the others.
func withSystem(system string, messages []chat.Message) []chat.Message {
	return append([]chat.Message{chat.Turn("system", system)}, messages...)
}

func isTerminal(file any) bool {
	f, ok := file.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
