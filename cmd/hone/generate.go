package main

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/internal/bounded"
	"github.com/hone-ml/hone/internal/chat"
	"github.com/hone-ml/hone/internal/job"
)

func generateCommand() *cobra.Command {
	var f speakFlags
	var prompt string
	c := &cobra.Command{
		Use:   "generate MODEL -p TEXT | --messages FILE.json",
		Short: "a model's answer",
		Example: `  hone generate tune -p "What is 1 + 1?"
  hone generate tune --pipeline examples/sft --messages messages.json --json
  hone generate ./model -p - --temperature 0.7 --top-p 0.9 < prompt.txt`,
		Long: `generate prints what the model answers, without special tokens and outer white space; on a terminal as it comes.

` + modelHelp + `
` + baseHelp + `

` + speakHelp + `

--json prints {"text", "tokens", "prompt_tokens", "seconds", "tokens_per_second"}: the ids, the end token among them, and
the time of prefill and decoding, without loading.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			messages, err := f.conversation(c, prompt)
			if err != nil {
				return err
			}
			if err := f.sampling(c); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			c.SetContext(ctx)
			return f.generate(c, args[0], messages)
		},
	}
	c.Flags().StringVarP(&prompt, "prompt", "p", "", "what the user says: `TEXT` (- for standard input)")
	c.Flags().StringVar(&f.template.messages, "messages", "", "a JSON `FILE` of messages, or of an object with messages and tools (- for standard input)")
	c.Flags().BoolVar(&f.request.IgnoreEOS, "ignore-eos", false, "go on past end tokens, to --max-new-tokens")
	f.register(c, 100, "json")
	return c
}

// conversation is what the model is to answer.
func (f *speakFlags) conversation(c *cobra.Command, prompt string) ([]chat.Message, error) {
	prompted := c.Flags().Changed("prompt")
	if prompted == (f.template.messages != "") {
		return nil, usage("-p TEXT or --messages FILE.json, one of them\n%s --help says more", c.CommandPath())
	}
	messages, err := f.variables(c)
	if err != nil {
		return nil, err
	}
	if prompted {
		if prompt == "-" {
			b, err := bounded.Read(c.InOrStdin(), bounded.Input)
			if err != nil {
				return nil, usage("-p: %w", err)
			}
			prompt = strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
		}
		if !utf8.ValidString(prompt) {
			return nil, usage("-p: not UTF-8")
		}
		messages = []chat.Message{chat.Turn("user", prompt)}
	}
	if f.system != "" {
		if role, _ := messages[0].Text("role"); role == "system" {
			return nil, usage("--system: %s begins with a system message already", f.template.messages)
		}
		messages = withSystem(f.system, messages)
	}
	return messages, nil
}

func (f *speakFlags) generate(c *cobra.Command, name string, messages []chat.Message) error {
	out, errs := c.OutOrStdout(), c.ErrOrStderr()
	s, err := f.openSpeaker(c, name)
	if err != nil {
		return err
	}
	defer s.close()
	if s.ready.Plain {
		fmt.Fprintf(errs, "%s has no chat template: plain is used\n", name)
	}
	if f.newSeed(c) {
		fmt.Fprintf(errs, "--seed %d gives this answer again\n", f.request.Seed)
	}
	live := !f.json && isTerminal(out)
	text := stripped{to: out}
	answer, err := s.ask(c.Context(), f.of(messages), func(r *job.CompleteReply) {
		switch {
		case r.Warning != "":
			fmt.Fprintln(errs, "warning:", r.Warning)
		case live:
			text.write(r.Delta)
		}
	})
	switch {
	case err != nil:
		if text.some {
			fmt.Fprintln(out)
		}
		return err
	case f.json:
		return printJSON(c, answer)
	case live:
		_, err = fmt.Fprintln(out)
	default:
		_, err = fmt.Fprintln(out, answer.Text)
	}
	return err
}
