package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/hone-ml/hone/internal/bounded"
	"github.com/hone-ml/hone/internal/chat"
	"github.com/hone-ml/hone/internal/chat/jinja"
	"github.com/hone-ml/hone/internal/ordjson"
)

func templateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "template",
		Short:   "chat templates",
		Example: `  hone template render --template qwen3 --messages messages.json`,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(templateRenderCommand())
	return c
}

// templateFlags are those of template render.
type templateFlags struct {
	template, messages, tools, vars, date string
	generationPrompt, mask                bool
}

func templateRenderCommand() *cobra.Command {
	var f templateFlags
	c := &cobra.Command{
		Use:   "render --template FILE --messages FILE.json",
		Short: "a template over messages, as transformers renders it",
		Example: `  hone template render --template qwen3 --messages messages.json
  hone template render --template ./model --messages messages.json --mask`,
		Long: `render writes what the template makes of the messages: the bytes that transformers' apply_chat_template gives,
and nothing after them. A template that raises is exit 1.

--mask writes instead which of these bytes train under loss "assistant", as JSON:
    {"text": "…", "marked": true, "spans": [[begin, end], …]}
begin and end count bytes of text in UTF-8. marked: the template says so itself, with {% generation %}; else each
turn goes from behind its generation prompt up to and with its end-of-turn token. On a terminal --mask writes the
text with these bytes highlighted.`,
		RunE: func(c *cobra.Command, _ []string) error { return f.render(c) },
	}
	c.Flags().StringVar(&f.template, "template", "", "a `FILE` of Jinja, a model's folder, or a family: "+strings.Join(chat.Families(), ", "))
	c.Flags().StringVar(&f.messages, "messages", "", "a JSON `FILE` of messages, or of an object with messages and tools (- for standard input)")
	c.Flags().StringVar(&f.tools, "tools", "", "JSON `FILE`: a list of the tools' schemas")
	c.Flags().StringVar(&f.vars, "vars", "", "JSON `FILE`: an object of further variables, such as enable_thinking or bos_token")
	c.Flags().StringVar(&f.date, "date", "", "the `DAY` that templates read, YYYY-MM-DD (today)")
	c.Flags().BoolVar(&f.generationPrompt, "generation-prompt", false, "have the assistant begin")
	c.Flags().BoolVar(&f.mask, "mask", false, "write which bytes train under loss \"assistant\"")
	return c
}

func (f *templateFlags) render(c *cobra.Command) error {
	if f.template == "" || f.messages == "" {
		return usage("--template and --messages are needed\n%s --help says more", c.CommandPath())
	}
	if f.mask && f.generationPrompt {
		return usage("--mask is of what the assistant has written: without --generation-prompt")
	}
	t, err := f.load()
	if err != nil {
		return err
	}
	if t.Substituted {
		fmt.Fprintf(c.ErrOrStderr(), "%s has no chat template: plain is used\n", f.template)
	}
	v, err := f.read(c.InOrStdin())
	if err != nil {
		return err
	}
	out := bufio.NewWriter(c.OutOrStdout())
	if f.mask {
		s, err := t.Spans(c.Context(), v)
		if err != nil {
			return fail(exitFailed, "%s: %w", f.template, err)
		}
		if stdout, ok := c.OutOrStdout().(*os.File); ok && term.IsTerminal(int(stdout.Fd())) {
			highlight(out, s)
			return out.Flush()
		}
		return printJSON(c, map[string]any{"text": s.Text, "marked": s.Marked, "spans": append([][2]int{}, s.Spans...)})
	}
	text, err := t.Render(c.Context(), v)
	if err != nil {
		return fail(exitFailed, "%s: %w", f.template, err)
	}
	out.WriteString(text)
	return out.Flush()
}

// load finds the template: a file, a model's folder, or a family's name where nothing has that path.
func (f *templateFlags) load() (*chat.Template, error) {
	info, err := os.Stat(f.template)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if slices.Contains(chat.Families(), f.template) {
			return chat.Family(f.template)
		}
		return nil, usage("--template: %w (families: %s)", err, strings.Join(chat.Families(), ", "))
	case err != nil:
		return nil, usage("--template: %w", err)
	case info.IsDir():
		t, err := chat.Load(f.template)
		if err != nil {
			return nil, fail(exitFailed, "%w", err)
		}
		return t, nil
	}
	source, err := bounded.ReadFile(f.template, jinja.MaxSource)
	if err != nil {
		return nil, usage("--template: %w", err)
	}
	t, err := chat.Parse(string(source))
	if err != nil {
		return nil, fail(exitFailed, "%s: %w", f.template, err)
	}
	return t, nil
}

// read reads the variables; messages where there are any to read.
func (f *templateFlags) read(stdin io.Reader) (chat.Vars, error) {
	v := chat.Vars{GenerationPrompt: f.generationPrompt, Date: time.Now()}
	if f.date != "" {
		day, err := time.Parse(time.DateOnly, f.date)
		if err != nil {
			return v, usage("--date %s: not a day as YYYY-MM-DD", f.date)
		}
		v.Date = day
	}
	if f.messages != "" {
		messages, source, err := readJSON("messages", f.messages, stdin)
		if err != nil {
			return v, err
		}
		if o, ok := messages.(*ordjson.Object); ok {
			v.Tools, _ = o.Get("tools")
			messages, _ = o.Get("messages")
		}
		v.Messages, err = chat.Messages(messages)
		if bad := (*chat.TurnError)(nil); errors.As(err, &bad) {
			return v, usage("--messages: %s:%d: %w", f.messages, turnLine(source, bad.Turn), err)
		}
		if err != nil {
			return v, usage("--messages: %s: %w", f.messages, err)
		}
	}
	if f.tools != "" {
		var err error
		if v.Tools, _, err = readJSON("tools", f.tools, stdin); err != nil {
			return v, err
		}
	}
	if f.vars != "" {
		extra, _, err := readJSON("vars", f.vars, stdin)
		if err != nil {
			return v, err
		}
		o, ok := extra.(*ordjson.Object)
		if !ok {
			return v, usage("--vars: %s: not an object", f.vars)
		}
		v.Extra = o
	}
	return v, nil
}

// readJSON gives the value and the JSON that it is read from.
func readJSON(flag, path string, stdin io.Reader) (ordjson.Value, []byte, error) {
	var b []byte
	var err error
	if path == "-" {
		b, err = bounded.Read(stdin, bounded.Input)
	} else {
		b, err = bounded.ReadFile(path, bounded.Input)
	}
	if err != nil {
		return nil, nil, usage("--%s: %w", flag, err)
	}
	v, err := ordjson.Parse(b)
	if err != nil {
		return nil, nil, usage("--%s: %s: %w", flag, path, err)
	}
	return v, b, nil
}

// turnLine is the line on which a turn of the messages begins, in JSON that is a list of them or an object with one.
func turnLine(source []byte, turn int) int {
	d := json.NewDecoder(bytes.NewReader(source))
	var skipped json.RawMessage
	if first, _ := d.Token(); first == json.Delim('{') {
		for key, err := d.Token(); err == nil && key != "messages"; key, err = d.Token() {
			if d.Decode(&skipped) != nil {
				break
			}
		}
		_, _ = d.Token() // the list's bracket
	}
	for n := 1; n < turn && d.More(); n++ {
		if d.Decode(&skipped) != nil {
			break
		}
	}
	at := int(d.InputOffset())
	at += len(source[at:]) - len(bytes.TrimLeft(source[at:], " \t\r\n,"))
	return 1 + bytes.Count(source[:at], []byte("\n"))
}

// highlight writes the text with its spans in green.
func highlight(w *bufio.Writer, s *chat.Spans) {
	at := 0
	for _, span := range s.Spans {
		w.WriteString(s.Text[at:span[0]])
		w.WriteString("\x1b[32m" + s.Text[span[0]:span[1]] + "\x1b[0m")
		at = span[1]
	}
	w.WriteString(s.Text[at:])
}
