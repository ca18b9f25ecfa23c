package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/stages"
)

// worker is the scripts' hone-worker, or the real one where REAL_WORKER names it.
func worker() {
	if real := os.Getenv("REAL_WORKER"); real != "" {
		fmt.Fprintln(os.Stderr, syscall.Exec(real, append([]string{real}, os.Args[1:]...), os.Environ()))
		os.Exit(1)
	}
	if os.Args[1] == "complete" {
		repeat()
		return
	}
	os.Exit(stages.Main(os.Args[2], stages.Registry{"eval": scoreByConfig}, nil))
}

// repeat answers each conversation with itself, a word at a time. What the user says first may ask for more: "die" ends
// the process, "wait" makes the answer last until it is cancelled.
func repeat() {
	lines := make(chan job.CompleteRequest)
	go func() {
		defer close(lines)
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			var r job.CompleteRequest
			if json.Unmarshal(in.Bytes(), &r) == nil {
				lines <- r
			}
		}
	}()
	w := json.NewEncoder(os.Stdout)
	first := <-lines
	if message, err := os.ReadFile(filepath.Join(first.Model.Path, "broken")); err == nil {
		fmt.Fprint(os.Stderr, string(message))
		os.Exit(127)
	}
	base := ""
	if first.Model.Base != nil {
		base = filepath.Base(first.Model.Base.Path)
	}
	_, err := os.Stat(filepath.Join(first.Model.Path, "chat_template.jinja"))
	w.Encode(job.CompleteReply{Ready: &job.CompleteReady{Plain: err != nil}})
	for r := range lines {
		var messages []struct{ Role, Content string }
		if err := json.Unmarshal(r.Messages, &messages); err != nil {
			w.Encode(job.CompleteReply{Error: err.Error(), Code: 1})
			continue
		}
		var said []string
		told := 0 // of said
		for _, m := range messages {
			said = append(said, m.Role+":", m.Content)
		}
		switch last := messages[len(messages)-1].Content; last {
		case "die":
			fmt.Fprintln(os.Stderr, "out of memory, say")
			os.Exit(1)
		case "error":
			w.Encode(job.CompleteReply{Error: "the template raised", Code: 1})
			continue
		case "request":
			r.Messages = nil
			b, _ := json.Marshal(r)
			said = []string{first.Model.Kind, filepath.Base(first.Model.Path), base, first.Device, string(b)}
		case "wait":
			w.Encode(job.CompleteReply{Delta: " waiting"})
			os.WriteFile(os.Getenv("WORK")+"/waiting", nil, 0o644)
			for cancelled := false; !cancelled; {
				select {
				case next, ok := <-lines:
					cancelled = next.Cancel || !ok
				case <-time.After(time.Minute):
					os.Exit(3)
				}
			}
			said, told = []string{"waiting"}, 1
		}
		for _, word := range said[told:] {
			w.Encode(job.CompleteReply{Delta: " " + word})
		}
		w.Encode(job.CompleteReply{Answer: &job.Completion{Text: strings.Join(said, " "), Tokens: []int32{7, 8, 2},
			PromptTokens: 5, Seconds: 0.5, TokensPerSecond: 6}})
	}
}
