package pipelines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain makes this binary the program that Evaluate calls.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == Serving {
		if err := Serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func evaluateHere(t *testing.T, pattern string) (*Compiled, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Evaluate(t.Context(), []string{self}, pattern, Options{})
}

// TestEvaluate says that another process gives what this one does, of pipelines that are right, wrong, or none.
func TestEvaluate(t *testing.T) {
	examples, err := filepath.Abs("../examples")
	if err != nil {
		t.Fatal(err)
	}
	enter(t, "-- good/p.cue --\n"+minimal+"-- bad/p.cue --\n"+minimal+"stages: a: {kind: \"exprot\"}\n-- none/p.cue --\npackage none\nx: 1\n-- torn/p.cue --\npackage torn\nx: {\n-- bare/p.cue --\nx: 1\n")
	for _, pattern := range []string{"good", "bad", "none", "torn", "bare", "nowhere", "./...", "none/...", filepath.Join(examples, "...")} {
		here, hereErr := CompileAll(pattern, Options{})
		there, thereErr := evaluateHere(t, pattern)
		if fmt.Sprint(hereErr) != fmt.Sprint(thereErr) || !errors.Is(thereErr, nil) && fmt.Sprintf("%T", hereErr) != fmt.Sprintf("%T", thereErr) {
			t.Errorf("%s: %T %v here, %T %v there", pattern, hereErr, hereErr, thereErr, thereErr)
		}
		if a, b := inJSON(t, here), inJSON(t, there); a != b {
			t.Errorf("%s: here\n%s\nthere\n%s", pattern, a, b)
		}
	}
}

func inJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestBounds says of CUE that no machine can evaluate that it is given up, with an error, and that what stands beside it is not lost.
func TestBounds(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as evaluation may")
	}
	const ten = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"
	var loops []string
	for i := range 12 {
		loops = append(loops, fmt.Sprintf("for x%d in %s", i, ten))
	}
	doubled := "_s0: \"0123456789\"\n"
	for i := 1; i < 40; i++ {
		doubled += fmt.Sprintf("_s%d: _s%d + _s%d\n", i, i-1, i-1)
	}
	for name, c := range map[string]struct{ text, want string }{
		"loops":   {"_n: [" + strings.Join(loops, " ") + " {1}]\n", "its CUE takes more than "},
		"doubled": {doubled, "its CUE takes more than 1 GB of memory to evaluate"},
	} {
		t.Run(name, func(t *testing.T) {
			enter(t, "-- a/p.cue --\n"+minimal+"-- hostile/p.cue --\n"+minimal+c.text+"-- z/p.cue --\n"+minimal)
			began := time.Now()
			all, err := evaluateHere(t, "./...")
			if err != nil || len(all.Graphs) != 2 || len(all.Errors) != 1 || !strings.HasPrefix(all.Errors[0].Error(), "hostile: "+c.want) {
				t.Errorf("%d graphs, %v, %v", len(all.Graphs), all.Errors, err)
			}
			if took := time.Since(began); took > maxWait+5*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// TestEndlessFile says of a file that no memory holds the same, though its package cannot be told.
func TestEndlessFile(t *testing.T) {
	enter(t, "-- p.cue --\n"+minimal)
	if err := os.Truncate("p.cue", 8<<30); err != nil {
		t.Skip(err) // no sparse files
	}
	all, err := evaluateHere(t, ".")
	var wrong Errors
	if !errors.As(err, &wrong) || !strings.HasPrefix(err.Error(), ".: its CUE takes more than 1 GB of memory") {
		t.Errorf("%v, %T %v", all, err, err)
	}
}

func TestEvaluateEnds(t *testing.T) {
	enter(t, "-- p.cue --\n"+minimal)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Evaluate(ctx, []string{self}, ".", Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := Evaluate(t.Context(), []string{"/bin/false"}, ".", Options{}); err == nil || !strings.Contains(err.Error(), "cannot be evaluated") {
		t.Error(err)
	}
}
