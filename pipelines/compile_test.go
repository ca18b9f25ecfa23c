package pipelines

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cuecmd "cuelang.org/go/cmd/cue/cmd"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite the goldens")

// TestMistakes loads and compiles each archive of testdata/mistakes in a folder of its own and compares what is said,
// with the positions in the user's files, with the archive's want.
func TestMistakes(t *testing.T) {
	each(t, "testdata/mistakes", func(t *testing.T) string {
		_, err := compileHere()
		var wrong Errors
		if !errors.As(err, &wrong) {
			t.Fatalf("%T %v, want Errors", err, err)
		}
		return wrong.Error() + "\n"
	})
}

// TestGraphs compares the graphs of testdata/graphs with their want: a line a stage, its edges and ports, and the
// leaves that the user wrote with their places.
func TestGraphs(t *testing.T) {
	each(t, "testdata/graphs", func(t *testing.T) string {
		g, err := compileHere()
		if err != nil {
			t.Fatal(err)
		}
		return render(g)
	})
}

// TestPlainCUE has cue itself check the pipelines of testdata/graphs: what hone takes, cue takes too. And what is wrong
// by the schemas alone, which is all that cue can see, cue refuses.
func TestPlainCUE(t *testing.T) {
	for dir, valid := range map[string]bool{"graphs": true, "mistakes": false} {
		archives, err := filepath.Glob("testdata/" + dir + "/*.txtar")
		if err != nil || len(archives) == 0 {
			t.Fatal("no archives", err)
		}
		for _, path := range archives {
			name := strings.TrimSuffix(filepath.Base(path), ".txtar")
			if slices.Contains([]string{"cycle", "cycle_needs", "sources", "filter", "gate", "warmup", "training", "dpo", "top_level", "stage_name", "adapter_base"}, name) {
				continue // no schema can say these, and an embedded one closes nothing at the top
			}
			t.Run(name, func(t *testing.T) {
				a, err := txtar.ParseFile(path)
				if err != nil {
					t.Fatal(err)
				}
				t.Chdir(unpack(t, a))
				if _, err := Vendor("."); err != nil {
					t.Fatal(err)
				}
				args := []string{"vet", "-c", "./..."}
				if b, err := os.ReadFile("tags"); err == nil {
					args = append(args, "-t", strings.TrimSpace(string(b)))
				}
				c, err := cuecmd.New(args)
				if err != nil {
					t.Fatal(err)
				}
				var out strings.Builder
				c.SetOut(&out)
				if err := c.Run(t.Context()); (err == nil) != valid {
					t.Errorf("cue vet: %v\n%s", err, &out)
				}
			})
		}
	}
}

func compileHere() (*Graph, error) {
	path := "."
	if b, err := os.ReadFile("path"); err == nil {
		path = strings.TrimSpace(string(b))
	}
	var opts Options
	if b, err := os.ReadFile("tags"); err == nil {
		opts.Tags = strings.Fields(string(b))
	}
	p, err := Load(path, opts)
	if err != nil {
		return nil, err
	}
	return Compile(p)
}

// each runs f in the unpacked folder of every archive of a folder.
func each(t *testing.T, dir string, f func(*testing.T) string) {
	archives, err := filepath.Glob(dir + "/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatal("no archives", err)
	}
	for _, path := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			path, _ := filepath.Abs(path)
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Chdir(unpack(t, a))
			got := f(t)
			for i := range a.Files {
				if a.Files[i].Name != "want" {
					continue
				}
				if *update {
					a.Files[i].Data = []byte(got)
					if err := os.WriteFile(path, txtar.Format(a), 0o666); err != nil {
						t.Fatal(err)
					}
				} else if d := cmp.Diff(string(a.Files[i].Data), got); d != "" {
					t.Errorf("-want +got\n%s", d)
				}
				return
			}
			t.Fatal("no want")
		})
	}
}

func unpack(t *testing.T, a *txtar.Archive) string {
	dir := t.TempDir()
	for _, f := range a.Files {
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func render(g *Graph) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s in package %s\n", g.Name, g.Package)
	for _, s := range g.Stages {
		fmt.Fprintf(&b, "%s %s\n", s.Name, s.Kind)
		for _, in := range s.Inputs {
			fmt.Fprintf(&b, "\tinput %s: %s %s.%s\n", in.Field, in.Edge.Kind, in.Edge.From, in.Edge.Port)
		}
		for _, e := range s.Needs {
			fmt.Fprintf(&b, "\tneeds %s.%s\n", e.From, e.Port)
		}
		for _, src := range s.Sources {
			fmt.Fprintf(&b, "\tsource %s: %s\n", src.Field, src.Written)
		}
		for _, f := range s.Fields {
			if f.Explicit {
				v, _ := json.Marshal(f.Value)
				fmt.Fprintf(&b, "\t%s: %s at %s:%d:%d\n", f.Path, v, f.Pos.Filename, f.Pos.Line, f.Pos.Column)
			}
		}
		for _, o := range s.Outputs {
			fmt.Fprintf(&b, "\tout %s: %s", o.Port, o.Kind)
			if o.Base != nil {
				fmt.Fprintf(&b, " over %s.%s", o.Base.From, o.Base.Port)
			}
			b.WriteByte('\n')
		}
	}
	for _, a := range g.Advice {
		fmt.Fprintf(&b, "advice: %v\n", a)
	}
	for _, n := range g.Notes {
		fmt.Fprintf(&b, "note: %v\n", n)
	}
	return b.String()
}
