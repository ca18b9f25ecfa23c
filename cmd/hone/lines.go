package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// lines are what a user types, or what a pipe has.
type lines interface {
	read() (string, error) // io.EOF at the end
	live() bool            // somebody sits there
	close()
}

// next reads a line; the end of ctx ends the waiting.
func next(ctx context.Context, l lines) (string, error) {
	type result struct {
		line string
		err  error
	}
	got := make(chan result, 1)
	go func() {
		line, err := l.read()
		got <- result{line, err}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case r := <-got:
		return r.line, r.err
	}
}

// openLines reads from a terminal, or from anything else.
func openLines(in io.Reader) lines {
	if f, ok := in.(*os.File); ok && isTerminal(f) {
		if before, err := term.GetState(int(f.Fd())); err == nil {
			k := &keyboard{in: f, out: f, before: before}
			if tty, err := os.OpenFile("/dev/tty", os.O_WRONLY, 0); err == nil { // where standard input may be open for reading alone
				k.out = tty
			}
			k.fresh()
			return k
		}
	}
	return &pipe{bufio.NewReader(in)}
}

type pipe struct{ in *bufio.Reader }

func (p *pipe) live() bool { return false }
func (p *pipe) close()     {}

func (p *pipe) read() (string, error) {
	line, err := p.in.ReadString('\n')
	if line == "" && err != nil {
		return "", err
	}
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if !utf8.ValidString(line) {
		return "", usage("standard input: a line is not UTF-8")
	}
	return line, nil
}

// keyboard is a terminal whose lines can be edited; the arrows bring earlier ones back. It is raw only while a line is
// read, so that Ctrl-C is a signal while the model answers.
type keyboard struct {
	in, out *os.File
	before  *term.State
	editor  *term.Terminal
}

const prompt, more = "> ", "… "

// errKeyInterrupt is Ctrl-C while a line is typed.
var errKeyInterrupt = errors.New("ctrl-c")

func (k *keyboard) live() bool { return true }

func (k *keyboard) close() {
	k.editor.SetBracketedPasteMode(false)
	term.Restore(int(k.in.Fd()), k.before)
}

// fresh begins with an empty line and the history there was.
func (k *keyboard) fresh() {
	editor := term.NewTerminal(k, prompt)
	if k.editor != nil {
		editor.History = k.editor.History
	}
	k.editor = editor
}

// read reads a line, or several that were pasted or end in a backslash.
func (k *keyboard) read() (string, error) {
	fd := int(k.in.Fd())
	if _, err := term.MakeRaw(fd); err != nil {
		return "", err
	}
	defer term.Restore(fd, k.before)
	if width, height, err := term.GetSize(int(k.out.Fd())); err == nil && width > 0 {
		k.editor.SetSize(width, height)
	}
	k.editor.SetBracketedPasteMode(true)
	defer k.editor.SetBracketedPasteMode(false)
	var text []string
	k.editor.SetPrompt(prompt)
	for {
		line, err := k.editor.ReadLine()
		switch {
		case errors.Is(err, errKeyInterrupt):
			fmt.Fprint(k.out, "^C (Ctrl-D leaves)\r\n")
			k.fresh()
			text = nil
			continue
		case errors.Is(err, io.EOF):
			fmt.Fprint(k.out, "\r\n")
			return "", err
		case err != nil && !errors.Is(err, term.ErrPasteIndicator):
			return "", err
		}
		begun := strings.TrimSuffix(line, `\`)
		text = append(text, begun)
		if err == nil && begun == line {
			return strings.Join(text, "\n"), nil
		}
		k.editor.SetPrompt(more)
	}
}

// Read and Write are the editor's side of the terminal.
func (k *keyboard) Read(p []byte) (int, error) {
	n, err := k.in.Read(p)
	if bytes.IndexByte(p[:n], 3) >= 0 {
		return 0, errKeyInterrupt
	}
	return n, err
}

func (k *keyboard) Write(p []byte) (int, error) { return k.out.Write(p) }
