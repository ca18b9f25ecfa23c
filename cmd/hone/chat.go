package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/internal/chat"
	"github.com/hone-ml/hone/internal/job"
)

const chatHelp = `  /system TEXT  a system message for what follows; without TEXT none
  /clear        forget the conversation
  /exit         leave, as Ctrl-D does
  /help         this
A line that ends in \ goes on in the next one. Ctrl-C stops an answer.`

func chatCommand() *cobra.Command {
	var f speakFlags
	c := &cobra.Command{
		Use:   "chat MODEL",
		Short: "talk to a model",
		Example: `  hone chat tune
  hone chat tune --pipeline examples/sft
  hone chat HuggingFaceTB/SmolLM2-135M-Instruct`,
		Long: `chat answers line after line, knowing what was said before. Where standard input is no terminal, each line is a turn.

` + modelHelp + `
` + baseHelp + `

` + speakHelp + `

Commands among the lines:
` + chatHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if _, err := f.variables(c); err != nil {
				return err
			}
			if err := f.sampling(c); err != nil {
				return err
			}
			f.request.Fit = true
			return f.chat(c, args[0])
		},
	}
	f.register(c, 1024)
	return c
}

func (f *speakFlags) chat(c *cobra.Command, name string) error {
	ctx, leave := context.WithCancel(c.Context())
	defer leave()
	c.SetContext(ctx)
	d := &dialogue{flags: f, system: f.system, out: c.OutOrStdout(), errs: c.ErrOrStderr()}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		for s := range signals {
			if s != os.Interrupt || !d.stopAnswer() {
				leave()
			}
		}
	}()
	s, err := f.openSpeaker(c, name)
	if err != nil {
		return err
	}
	defer s.close()
	d.speaker = s
	if s.ready.Plain {
		fmt.Fprintf(d.errs, "%s has no chat template: plain is used\n", name)
	}
	f.newSeed(c)
	d.lines = openLines(c.InOrStdin())
	defer d.lines.close()
	if d.lines.live() {
		fmt.Fprintln(d.errs, "/help says what can be typed beside text; Ctrl-D leaves")
	}
	return d.run(ctx)
}

// dialogue is a conversation that goes on.
type dialogue struct {
	flags     *speakFlags
	speaker   *speaker
	lines     lines
	out, errs io.Writer
	system    string
	turns     []chat.Message

	mu   sync.Mutex
	stop func() // ends the answer under way
}

// stopAnswer ends the answer under way; false where there is none, or where it was told so before.
func (d *dialogue) stopAnswer() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stop == nil {
		return false
	}
	d.stop()
	d.stop = nil
	return true
}

func (d *dialogue) run(ctx context.Context) error {
	for {
		line, err := next(ctx, d.lines)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if strings.TrimSpace(line) == "" {
			continue
		}
		over, command, err := d.command(line)
		if err == nil && !command {
			err = d.turn(ctx, line)
		}
		var mendable *exit
		switch {
		case over:
			return nil
		case d.lines.live() && errors.As(err, &mendable):
			fmt.Fprintln(d.errs, err)
		case err != nil:
			return err
		}
	}
}

var commands = regexp.MustCompile(`^/([a-z]+)(?:\s+(.*))?$`)

// command carries a line out that is a command rather than a turn.
func (d *dialogue) command(line string) (over, command bool, err error) {
	m := commands.FindStringSubmatch(strings.TrimSpace(line))
	if m == nil {
		return false, false, nil
	}
	switch m[1] {
	case "exit", "quit", "bye":
		return true, true, nil
	case "clear":
		d.turns = nil
	case "system":
		d.system = m[2]
	case "help":
		fmt.Fprintln(d.errs, chatHelp)
	default:
		return false, true, usage("no command /%s; /help lists them", m[1])
	}
	return false, true, nil
}

// turn has the model answer. A turn without an answer is taken back.
func (d *dialogue) turn(ctx context.Context, text string) error {
	turns := append(d.turns, chat.Turn("user", text))
	messages := turns
	if d.system != "" {
		messages = withSystem(d.system, turns)
	}
	answering, stop := context.WithCancel(ctx)
	defer stop()
	if d.lines.live() {
		d.mu.Lock()
		d.stop = stop
		d.mu.Unlock()
	}
	out := stripped{to: d.out}
	answer, err := d.speaker.ask(answering, d.flags.of(messages), func(r *job.CompleteReply) { out.write(r.Delta) })
	d.mu.Lock()
	d.stop = nil
	d.mu.Unlock()
	if err == nil || out.some {
		fmt.Fprintln(d.out)
	}
	switch {
	case ctx.Err() != nil:
		return context.Canceled
	case err != nil:
		return err
	case answer.Text != "":
		d.turns = append(turns, chat.Turn("assistant", answer.Text))
	}
	d.flags.request.Seed++
	note := ""
	switch {
	case answering.Err() != nil:
		note = ", stopped"
	case len(answer.Tokens) == d.flags.request.MaxNewTokens:
		note = ", cut by --max-new-tokens"
	}
	fmt.Fprintf(d.errs, "%d tokens, %.1f tokens/s%s\n", len(answer.Tokens), answer.TokensPerSecond, note)
	return nil
}
