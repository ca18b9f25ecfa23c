package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hone-ml/hone/internal/job"
)

// hone generate gives the tokens and the text that transformers gives, the generation prompt, the system message and the
// end of an answer among what decides them.
func TestGenerateAsTransformers(t *testing.T) {
	worker := os.Getenv("HONE_WORKER")
	if _, err := exec.LookPath(worker); err != nil {
		t.Skip("HONE_WORKER names no hone-worker")
	}
	t.Setenv("REAL_WORKER", worker) // the one on PATH is the scripts'
	b, err := os.ReadFile("testdata/speak.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			Flags []string
			job.Completion
		}
	}
	if err := json.Unmarshal(b, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) < 6 {
		t.Fatalf("%d cases", len(golden.Cases))
	}
	for _, c := range golden.Cases {
		t.Run(strings.Join(c.Flags, " "), func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			args := append([]string{"generate", "../../internal/train/testdata/toy", "--json", "--threads", "1"}, c.Flags...)
			if code := hone(args, &stdout, &stderr); code != 0 {
				t.Fatalf("exit %d: %s", code, &stderr)
			}
			var got job.Completion
			if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if got.Seconds <= 0 || got.TokensPerSecond <= 0 {
				t.Errorf("%g seconds, %g tokens/s", got.Seconds, got.TokensPerSecond)
			}
			got.Seconds, got.TokensPerSecond = 0, 0
			if d := cmp.Diff(c.Completion, got); d != "" {
				t.Errorf("transformers -, hone +\n%s", d)
			}
		})
	}
}

// Text comes without outer white space however it is cut, and inner white space as it is.
func TestStripped(t *testing.T) {
	for _, pieces := range [][]string{{"  a", " b\n", " ", "", "c \n", "\n"}, {" ", "\n", "a b\n  c", " "}, {" \n a b\n  c \n\n"}, {" "}, {}} {
		var out strings.Builder
		w := stripped{to: &out}
		for _, p := range pieces {
			w.write(p)
		}
		if want := strings.TrimSpace(strings.Join(pieces, "")); out.String() != want {
			t.Errorf("%q: %q, want %q", pieces, out.String(), want)
		}
	}
}
