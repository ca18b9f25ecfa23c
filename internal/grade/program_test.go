package grade

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/schemas"
)

// env has the user's files in a folder, by the names that the fields give.
func env(t *testing.T, files map[string]string) Env {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return Env{Dir: t.TempDir(), Log: filepath.Join(t.TempDir(), "err"), Threads: 1,
		File: func(field string) string {
			return filepath.Join(dir, strings.NewReplacer("[", "_", "]", "").Replace(field))
		}}
}

func scorer(t *testing.T, script string) *Grader {
	t.Helper()
	e := env(t, map[string]string{"exec.files_0": script})
	g, err := New(schemas.Grader{Exec: &schemas.Program{Command: []string{"./score"}, Files: []string{"score"}}}, &dataset.Header{}, e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.Close()
		if left, _ := os.ReadDir(e.Dir); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	return g
}

func TestProgram(t *testing.T) {
	g := scorer(t, `#!/bin/sh
while read -r line; do
	case $line in
	'{"prompt":"?","completion":"a\nb","row":{"n":1.50,"m":null}}') echo '{"score": -2.5, "why": "as it was"}' ;;
	*) echo '{"score": 0}' ;;
	esac
done
`)
	for text, want := range map[string]float64{"a\nb": -2.5, "other": 0} {
		for range 3 {
			got, err := g.Score(t.Context(), Completion{Text: text, Prompt: "?", Row: row(t, `{"n":1.50,"m":null}`)})
			if err != nil || got != want {
				t.Errorf("%q: %v, %v", text, got, err)
			}
		}
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

// A program that goes wrong is ended and says what it did; no row is scored by it afterwards.
func TestProgramFails(t *testing.T) {
	defer func(d time.Duration) { RowTime = d }(RowTime)
	RowTime = 2 * time.Second
	for _, test := range []struct{ name, script, want string }{
		{"hangs", "read a; echo '{\"score\": 1}'; echo stuck >&2; sleep 1000 & sleep 1000", "its last lines:\nstuck"},
		{"reads nothing", "echo '{\"score\": 1}'; sleep 1000", "wrote no score in 2s"},
		{"nonsense", "read a; echo '{\"score\": 1}'; echo hello", `"hello" where a line {"score": x} is wanted`},
		{"NaN", "read a; echo '{\"score\": 1}'; echo '{\"score\": NaN}'", "NaN"},
		{"infinite", "read a; echo '{\"score\": 1}'; echo '{\"score\": 1e999}'", "1e999"},
		{"null", "read a; echo '{\"score\": 1}'; echo '{\"score\": null}'", "null"},
		{"two values", "read a; echo '{\"score\": 1}'; echo '{\"score\": 1} {\"score\": 1}'", "is wanted"},
		{"dies", "read a; echo '{\"score\": 1}'; read b; echo oh >&2; exit 3", "./score ended with exit status 3; its last lines:\noh"},
		{"ends", "read a; echo '{\"score\": 1}'", "ended before it had scored every line"},
		{"is killed", "read a; echo '{\"score\": 1}'; read b; kill -9 $$", "signal 9"},
		{"endless line", "read a; echo '{\"score\": 1}'; cat /dev/zero", "a line of more than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := scorer(t, "#!/bin/sh\n"+test.script+"\n")
			c := Completion{Text: strings.Repeat("x", 200_000), Prompt: "?", Row: row(t, `{}`)}
			if x, err := g.Score(t.Context(), c); x != 1 && test.name != "reads nothing" || err != nil && test.name != "reads nothing" {
				t.Fatalf("first: %v, %v", x, err)
			}
			_, err := g.Score(t.Context(), c)
			var fatal *Fatal
			if err == nil || !strings.Contains(err.Error(), test.want) && test.name != "reads nothing" || !errors.As(err, &fatal) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if _, again := g.Score(t.Context(), c); again != err { //nolint:errorlint // the same
				t.Errorf("afterwards: %v", again)
			}
		})
	}
}

func TestProgramSaysTooMuch(t *testing.T) {
	g := scorer(t, "#!/bin/sh\nwhile read a; do echo '{\"score\": 1}'; done; echo '{\"score\": 1}'\n")
	if _, err := g.Score(t.Context(), Completion{Row: row(t, `{}`)}); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err == nil || !strings.Contains(err.Error(), "more lines than it was given") {
		t.Error(err)
	}
	g = scorer(t, "#!/bin/sh\nwhile read a; do echo '{\"score\": 1}'; done; exit 7\n")
	if _, err := g.Score(t.Context(), Completion{Row: row(t, `{}`)}); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err == nil || !strings.Contains(err.Error(), "exit status 7") {
		t.Error(err)
	}
}

func TestProgramMissing(t *testing.T) {
	for command, code := range map[string]int{"no-such-program": 6, "./other": 0} {
		_, err := New(schemas.Grader{Exec: &schemas.Program{Command: []string{command}}}, &dataset.Header{}, env(t, nil))
		var e *job.Error
		if err == nil || !strings.Contains(err.Error(), "exec.command: no program "+command) || code > 0 && (!errors.As(err, &e) || e.Code != code) {
			t.Errorf("%s: %v", command, err)
		}
	}
	_, err := New(schemas.Grader{Exec: &schemas.Program{Command: []string{"true"}, Files: []string{"../x"}}}, &dataset.Header{}, env(t, nil))
	if err == nil || !strings.Contains(err.Error(), "exec.files[0]") {
		t.Error(err)
	}
}

func TestSum(t *testing.T) {
	s, err := NewSum(map[string]schemas.WeightedGrader{
		"right": {Grader: schemas.Grader{Exact: &named{}}, Weight: 2},
		"long":  {Grader: schemas.Grader{CEL: &schemas.CEL{Expression: "size(completion)"}}, Weight: -0.5},
	}, &dataset.Header{Format: dataset.Prompt}, Env{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	scores, sum, err := s.Score(t.Context(), Completion{Text: "abc", Row: row(t, `{"answer":"abc"}`)})
	if err != nil || fmt.Sprint(s.Names(), scores, sum) != "[long right] [3 1] 0.5" {
		t.Errorf("%v: %v %v, %v", s.Names(), scores, sum, err)
	}
	if _, _, err := s.Score(t.Context(), Completion{Text: "abc", Row: row(t, `{}`)}); err == nil || !strings.HasPrefix(err.Error(), "right: no column answer") {
		t.Error(err)
	}
}
