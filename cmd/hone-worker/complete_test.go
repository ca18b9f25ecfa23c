package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/tensor"
)

// conversation runs complete and lets the test talk with it.
type conversation struct {
	t    *testing.T
	in   *json.Encoder
	hang func() error
	out  *bufio.Scanner
	code chan int
}

func talk(t *testing.T) *conversation {
	t.Helper()
	in, write := io.Pipe()
	read, out := io.Pipe()
	c := &conversation{t: t, in: json.NewEncoder(write), hang: write.Close, out: bufio.NewScanner(read), code: make(chan int, 1)}
	go func() {
		tensor.Lock()
		c.code <- complete(in, out)
		out.Close()
	}()
	return c
}

func (c *conversation) reply() (r job.CompleteReply) {
	c.t.Helper()
	if !c.out.Scan() {
		c.t.Fatal("no reply")
	}
	if err := json.Unmarshal(c.out.Bytes(), &r); err != nil {
		c.t.Fatal(err)
	}
	return r
}

// answer reads on to the end of an answer and returns it with the text that came before.
func (c *conversation) answer() (*job.Completion, string) {
	c.t.Helper()
	var text strings.Builder
	for {
		switch r := c.reply(); {
		case r.Error != "":
			c.t.Fatal(r.Error)
		case r.Answer != nil:
			return r.Answer, text.String()
		default:
			text.WriteString(r.Delta)
		}
	}
}

func (c *conversation) ended() int {
	c.t.Helper()
	select {
	case code := <-c.code:
		return code
	case <-time.After(time.Minute):
		c.t.Fatal("still there after a minute")
	}
	return 0
}

func toy(t *testing.T) *job.Input {
	dir, err := filepath.Abs("../../internal/train/testdata/toy")
	if err != nil {
		t.Fatal(err)
	}
	return &job.Input{Kind: "model", Path: dir}
}

func asking(tokens int) job.CompleteRequest {
	return job.CompleteRequest{Messages: json.RawMessage(`[{"role": "user", "content": "Hello."}]`), MaxNewTokens: tokens, IgnoreEOS: true}
}

// An answer that is cancelled comes with what it has, which is how the whole one begins, and the next one is not
// cancelled. What came as text, joined and stripped, is the answer's text.
func TestCancel(t *testing.T) {
	c := talk(t)
	c.in.Encode(job.CompleteRequest{Protocol: job.Protocol, Model: toy(t), Threads: 1})
	if r := c.reply(); r.Ready == nil || r.Ready.Plain {
		t.Fatalf("%+v", r)
	}
	const long = 100_000
	c.in.Encode(asking(long))
	for c.reply().Delta == "" {
	}
	c.in.Encode(job.CompleteRequest{Cancel: true})
	c.in.Encode(job.CompleteRequest{Cancel: true}) // once more, too late perhaps
	some, _ := c.answer()
	if n := len(some.Tokens); n == 0 || n == long {
		t.Fatalf("%d tokens", n)
	}
	c.in.Encode(asking(50))
	all, text := c.answer()
	if len(all.Tokens) != 50 {
		t.Errorf("%d tokens of 50", len(all.Tokens))
	}
	if strings.TrimSpace(text) != all.Text || text == "" {
		t.Errorf("text came as %q, the answer is %q", text, all.Text)
	}
	for i := range min(len(some.Tokens), 50) {
		if some.Tokens[i] != all.Tokens[i] {
			t.Fatalf("token %d: %d when cancelled, else %d", i, some.Tokens[i], all.Tokens[i])
		}
	}
	c.hang()
	if code := c.ended(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// A worker whose hone is gone does not finish the answer for nobody.
func TestHungUp(t *testing.T) {
	c := talk(t)
	c.in.Encode(job.CompleteRequest{Protocol: job.Protocol, Model: toy(t), Threads: 1})
	c.reply()
	c.in.Encode(asking(1_000_000))
	for c.reply().Delta == "" {
	}
	c.hang()
	c.answer()
	c.ended()
}

func TestRefusals(t *testing.T) {
	nothing := t.TempDir()
	if err := os.WriteFile(filepath.Join(nothing, "config.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		first job.CompleteRequest
		code  int
		said  string
	}{
		"another protocol": {job.CompleteRequest{Protocol: job.Protocol + 1, Model: toy(t)}, 6, "hone and hone-worker of one version"},
		"no model":         {job.CompleteRequest{Protocol: job.Protocol}, 1, "names no model"},
		"no such device":   {job.CompleteRequest{Protocol: job.Protocol, Model: toy(t), Device: "cuda"}, 6, "device cuda"},
		"not a model":      {job.CompleteRequest{Protocol: job.Protocol, Model: &job.Input{Kind: "model", Path: nothing}}, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := talk(t)
			c.in.Encode(test.first)
			if r := c.reply(); r.Code != test.code || !strings.Contains(r.Error, test.said) || r.Error == "" {
				t.Errorf("%+v", r)
			}
			if code := c.ended(); code != test.code {
				t.Errorf("exit %d", code)
			}
		})
	}
	c := talk(t)
	c.in.Encode(job.CompleteRequest{Protocol: job.Protocol, Model: toy(t), Threads: 1})
	c.reply()
	c.in.Encode(job.CompleteRequest{Messages: json.RawMessage(`[{"content": "whose?"}]`), MaxNewTokens: 3})
	if r := c.reply(); !strings.Contains(r.Error, "no role") {
		t.Errorf("%+v", r)
	}
	c.in.Encode(asking(3)) // and the next one is answered
	c.answer()
	c.hang()
	c.ended()
}
