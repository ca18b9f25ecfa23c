package runner_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/store"
)

// TestPredictions edits random pipelines at random (a thousand times in the long tests) and says of each time that the plan before the run
// is what the run then did, and that a run which was told from what it stands on, without a look at the pipeline, is the one that would
// have been.
func TestPredictions(t *testing.T) {
	pipelinesTried, edits := 10, 25
	if os.Getenv("HONE_LONG") != "" {
		pipelinesTried = 40
	}
	for seed := range pipelinesTried {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := &world{T: t, rand: rand.New(rand.NewPCG(uint64(seed), 1)), dir: t.TempDir()}
			w.begin()
			for i := range edits {
				w.at = fmt.Sprintf("edit %d: %s", i, w.edit())
				w.try()
			}
		})
	}
}

// world is a pipeline, its files and a store.
type world struct {
	*testing.T
	rand    *rand.Rand
	dir, at string
	stages  []*made
	named   int
	comment string
}

// made is a stage of it.
type made struct {
	name   string
	reads  []string
	file   string
	text   string
	silent string // in the command, and of no consequence
	fails  bool
}

func (w *world) path(elem ...string) string {
	return filepath.Join(append([]string{w.dir}, elem...)...)
}

func (w *world) begin() {
	for i := range 3 {
		w.write(fmt.Sprintf("f%d", i), "0")
	}
	for range 2 + w.rand.IntN(4) {
		w.add()
	}
}

func (w *world) write(name, text string) {
	w.Helper()
	if err := os.WriteFile(w.path(name), []byte(text), 0o644); err != nil {
		w.Fatal(err)
	}
}

func (w *world) add() {
	s := &made{name: fmt.Sprintf("s%d", w.named), text: fmt.Sprint(w.rand.IntN(3))}
	w.named++
	for _, other := range w.stages {
		if w.rand.IntN(3) == 0 && len(s.reads) < 2 {
			s.reads = append(s.reads, other.name)
		}
	}
	if w.rand.IntN(2) == 0 {
		s.file = fmt.Sprintf("f%d", w.rand.IntN(3))
	}
	w.stages = append(w.stages, s)
}

// leaf says whether no stage reads that one.
func (w *world) leaf(s *made) bool {
	return !slices.ContainsFunc(w.stages, func(o *made) bool { return slices.Contains(o.reads, s.name) })
}

// edit changes something, and says what.
func (w *world) edit() string {
	s := w.stages[w.rand.IntN(len(w.stages))]
	switch w.rand.IntN(14) {
	case 0:
		s.text = fmt.Sprint(w.rand.IntN(3))
		return s.name + " writes something else"
	case 1:
		s.silent += "x"
		return s.name + " does the same in another way"
	case 2:
		w.add()
		return "a stage more"
	case 3:
		if len(w.stages) > 2 && w.leaf(s) {
			w.stages = slices.DeleteFunc(w.stages, func(o *made) bool { return o == s })
		}
		return "perhaps a stage less: " + s.name
	case 4:
		if len(s.reads) > 0 {
			s.reads = s.reads[1:]
		} else if first := w.stages[0]; first != s && len(first.reads) == 0 {
			s.reads = []string{first.name}
		}
		return s.name + " reads other stages"
	case 5:
		old := s.name
		s.name = fmt.Sprintf("s%d", w.named)
		w.named++
		for _, o := range w.stages {
			for i := range o.reads {
				if o.reads[i] == old {
					o.reads[i] = s.name
				}
			}
		}
		return old + " is renamed to " + s.name
	case 6:
		w.comment += "// " + fmt.Sprint(w.rand.IntN(100)) + "\n\n"
		return "a comment"
	case 7:
		name := fmt.Sprintf("f%d", w.rand.IntN(3))
		w.write(name, fmt.Sprint(w.rand.IntN(3)))
		return name + " is written"
	case 8:
		s.fails = !s.fails
		return s.name + " fails, or no more"
	case 9:
		return "lost: " + w.pick("trees", os.RemoveAll)
	case 10:
		return "damaged: " + w.pick("trees", func(dir string) error {
			path := filepath.Join(dir, "t")
			if err := os.Chmod(path, 0o644); err != nil {
				return nil //nolint:nilerr // it is of another stage's, or gone
			}
			return os.WriteFile(path, []byte("damaged"), 0o644)
		})
	case 11:
		return "forgotten: " + w.pick("records", os.RemoveAll)
	case 12:
		st, err := store.Open(w.path("store"))
		if err == nil {
			_, err = st.GC(false)
		}
		if err != nil {
			w.Fatal(err)
		}
		return "gc"
	}
	return "nothing"
}

// pick does something to an entry of a folder of the store.
func (w *world) pick(folder string, do func(path string) error) string {
	entries, err := os.ReadDir(w.path("store", folder))
	if err != nil || len(entries) == 0 {
		return "nothing"
	}
	path := w.path("store", folder, entries[w.rand.IntN(len(entries))].Name())
	_ = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error { // artifacts are read-only
		if err == nil && d.IsDir() {
			_ = os.Chmod(p, 0o755)
		}
		return nil
	})
	if err := do(path); err != nil {
		w.Fatal(err)
	}
	return filepath.Base(path)[:8]
}

// text is the pipeline in CUE.
func (w *world) text() string {
	var b strings.Builder
	b.WriteString("package p\n\nimport \"github.com/hone-ml/hone/schemas\"\n\nschemas.#Pipeline\n\n" + w.comment + "name: \"p\"\nstages: {\n")
	for _, s := range w.stages {
		fmt.Fprintf(&b, "%s: {kind: \"exec\", out: {out: kind: \"files\"}\n", s.name)
		orders := []string{"say " + s.silent, "write out/t " + s.text}
		if s.file != "" {
			fmt.Fprintf(&b, "files: [%q]\n", s.file)
			orders = append(orders, "source files[0] out/f")
		}
		for i, from := range s.reads {
			fmt.Fprintf(&b, "inputs: i%d: stages.%s.out.out\n", i, from)
			orders = append(orders, fmt.Sprintf("read inputs.i%d out/i%d", i, i))
		}
		if s.fails {
			orders = append(orders, "error it is to fail")
		}
		list, err := json.Marshal(orders)
		if err != nil {
			w.Fatal(err)
		}
		fmt.Fprintf(&b, "command: %s}\n", list)
	}
	b.WriteString("}\n")
	return b.String()
}

// runner is a process's: it knows nothing of what another has looked at.
func (w *world) runner(asked *runner.Invocation) (*runner.Runner, *store.Store) {
	w.Helper()
	st, err := store.Open(w.path("store"))
	if err != nil {
		w.Fatal(err)
	}
	all, err := pipelines.CompileAll(w.dir, pipelines.Options{})
	if err != nil {
		w.Fatal(err)
	}
	g, err := all.One()
	if err != nil {
		w.Fatalf("%s: %v\n%s", w.at, err, w.text())
	}
	opts := asked.Options
	opts.Asked = asked
	r, err := runner.New(g, st, opts)
	if err != nil {
		w.Fatal(err)
	}
	return r, st
}

func (w *world) try() {
	w.Helper()
	w.write("p.cue", w.text())
	opts := options()
	asked := &runner.Invocation{Path: w.dir, Program: opts.Hone[0], Options: opts}
	r, st := w.runner(asked)
	plan, err := r.Plan()
	if err != nil {
		w.Fatal(err)
	}
	told := runner.Unchanged(st, asked, func(pipelines.Errors) {}, true)
	if told != nil && slices.ContainsFunc(plan.Stages, func(s *runner.StagePlan) bool { return s.Action != runner.Reuse }) {
		w.Fatalf("%s: told that nothing changed, and planned %s\n%s", w.at, outlook(plan), w.text())
	}
	r, st = w.runner(asked)
	result, err := r.Run(context.Background())
	if err != nil {
		w.Fatal(err)
	}
	for i, p := range plan.Stages {
		if s := result.Stages[i]; !w.foretold(p, s, result) {
			w.Fatalf("%s: %s: planned to %s, and it was %s (%s)\nplanned %s\ndone    %s\n%s", w.at, p.Name, p.Action, s.Status, s.Error, outlook(plan), story(result), w.text())
		}
	}
	if told != nil {
		w.same(told, result)
	}
	again := runner.Unchanged(st, asked, func(pipelines.Errors) {}, true)
	if (again != nil) != (result.Code == 0) {
		w.Fatalf("%s: exit code %d, and then told that nothing changed: %v", w.at, result.Code, again != nil)
	}
	if again != nil {
		r, _ = w.runner(asked)
		if result, err = r.Run(context.Background()); err != nil {
			w.Fatal(err)
		}
		w.same(again, result)
	}
}

// foretold says whether a stage did what was planned. One whose key was not known may turn out to be there, one
// whose artifact was lost too where another stage makes the same bytes, and one may fail, with those that were to reuse what it makes.
func (w *world) foretold(p *runner.StagePlan, s *runner.StageResult, result *runner.Result) bool {
	upstreamFailed := slices.ContainsFunc(p.Stage.Edges(), func(e pipelines.Edge) bool {
		up := result.Stage(e.From).Status
		return up == runner.Failed || up == runner.Skipped
	})
	fails := slices.ContainsFunc(w.stages, func(m *made) bool { return m.name == p.Name && m.fails })
	switch s.Status {
	case runner.Reused:
		mended := p.Gone != nil && slices.ContainsFunc(result.Stages, func(o *runner.StageResult) bool {
			return o != s && o.Status == runner.Ran && maps.Equal(o.Artifacts, s.Artifacts)
		})
		return p.Action == runner.Reuse || p.Action == runner.Run && (p.Key == nil || mended)
	case runner.Ran:
		return p.Action == runner.Run && !fails
	case runner.Failed:
		return (p.Action == runner.Run || p.Record == nil) && fails
	case runner.Skipped:
		return p.Action == runner.Run && upstreamFailed
	}
	return false
}

// same says that two results are told alike.
func (w *world) same(told, done *runner.Result) {
	w.Helper()
	a, err := json.MarshalIndent(told, "", " ")
	if err != nil {
		w.Fatal(err)
	}
	b, err := json.MarshalIndent(done, "", " ")
	if err != nil {
		w.Fatal(err)
	}
	if string(a) != string(b) {
		w.Fatalf("%s: told\n%s\nand done\n%s", w.at, a, b)
	}
}
