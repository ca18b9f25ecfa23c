// Package arch holds no code: its test keeps imports going one way, as docs/architecture.md says.
package arch

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/hone-ml/hone/"

// The libraries that are linked by cgo. What reaches one of them is not part of hone.
const (
	gotch      = "github.com/sugarme/gotch"
	tokenizers = "github.com/daulet/tokenizers"
)

// A rule forbids packages to reach others, by whatever path; direct rules look at their own imports alone.
// Names are below the module, or whole import paths; X/... is X and all below it. Except names packages that a rule spares.
type rule struct {
	from, except, to []string
	direct           bool
	reason           string
}

var rules = []rule{
	{
		from: []string{"cmd/hone", "schemas/...", "pipelines/...", "runner/...", "stages", "stages/data"}, to: []string{gotch + "/...", tokenizers},
		reason: "hone is one static file that runs where there is no libtorch",
	},
	{
		from: []string{"internal/chat/...", "internal/dataset/...", "internal/gguf", "internal/grade/...", "internal/hub/...", "internal/job", "internal/ordjson", "internal/program", "internal/safetensors", "internal/tbevents", "internal/tokenfile"},
		to:   []string{gotch + "/...", tokenizers}, reason: "stages without tensors use it, and they run in hone",
	},
	{
		from: []string{"cmd/hone", "pipelines/..."}, to: []string{"internal/grade", "internal/grade/sqlite", "github.com/santhosh-tekuri/jsonschema/..."},
		reason: "hone checks graders and runs none: their libraries would make it twice as slow to start",
	},
	{
		from: []string{"cmd/hone", "internal/bucket", "runner/..."}, to: []string{"gocloud.dev/..."},
		reason: "the libraries of S3 and Google Cloud Storage are hone-remote's: they would double hone's size and its start",
	},
	{
		from: []string{"internal/loss"}, to: []string{"internal/tensor", "internal/model", "internal/train", gotch + "/..."},
		reason: "losses are functions of numbers",
	},
	{
		from: []string{"cmd/...", "internal/...", "stages/..."}, except: []string{"internal/tensor"}, to: []string{gotch + "/..."}, direct: true,
		reason: "tensors that no scope frees leak: all tensor work goes through internal/tensor",
	},
	{
		from: []string{"cmd/...", "internal/...", "stages/..."}, except: []string{"internal/tokenizer"}, to: []string{tokenizers}, direct: true,
		reason: "it cuts text at a NUL byte and knows no added tokens: internal/tokenizer guards it",
	},
	{
		from: []string{"runner/..."}, to: []string{"stages/..."},
		reason: "the planner must plan for kinds of which this program has no code",
	},
	{
		from: []string{"stages/..."}, to: []string{"runner/..."},
		reason: "a stage sees its job and nothing of keys, records or the store",
	},
	{
		from: []string{"pipelines/..."}, to: []string{"runner/...", "stages/..."},
		reason: "what was said does not depend on what will be done",
	},
	{
		from: []string{"schemas/..."}, to: []string{"pipelines/...", "runner/...", "stages/...", "internal/..."},
		reason: "the schemas are what all others agree on",
	},
	{
		from: []string{"internal/job"}, to: []string{"schemas/...", "pipelines/...", "runner/...", "stages/...", "internal/..."},
		reason: "the job protocol is the leaf that both of its sides import",
	},
	{
		from: []string{"internal/..."}, to: []string{"cmd/...", "pipelines/...", "runner/...", "stages/..."},
		reason: "the ML core is a library below the stages; it takes arguments, not pipelines",
	},
	{
		from: []string{"runner/..."}, to: []string{"internal/chat/...", "internal/dataset", "internal/model", "internal/nn", "internal/sample", "internal/tensor", "internal/tokenizer", "internal/train"},
		reason: "rows, templates and tensors are the stages' business",
	},
	{
		from: []string{"internal/tensor"}, to: []string{"internal/nn", "internal/model", "internal/loss", "internal/optim", "internal/train", "internal/sample"},
		reason: "tensors know nothing of layers",
	},
	{
		from: []string{"internal/nn"}, to: []string{"internal/model", "internal/loss", "internal/optim", "internal/train", "internal/sample"},
		reason: "layers know nothing of architectures",
	},
	{
		from: []string{"internal/model"}, to: []string{"internal/train", "internal/sample", "internal/optim"},
		reason: "a forward is written once and does not know who calls it",
	},
}

// list returns the packages of the module with their imports, by import path.
func list(t *testing.T) map[string]*pkg {
	t.Helper()
	c := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", module+"...")
	c.Env = append(os.Environ(), "CGO_ENABLED=1") // the packages with cgo are listed too; nothing is compiled
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := map[string]*pkg{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages[p.ImportPath] = &p
	}
}

type pkg struct {
	ImportPath    string
	Imports, Deps []string
}

// matches says whether an import path is among patterns.
func matches(importPath string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		tree, below := strings.CutSuffix(pattern, "/...")
		if first, _, _ := strings.Cut(tree, "/"); !strings.Contains(first, ".") {
			tree = module + tree
		}
		return importPath == tree || below && strings.HasPrefix(importPath, tree+"/")
	})
}

func TestImportsGoOneWay(t *testing.T) {
	packages := list(t)
	for _, r := range rules {
		for _, pattern := range r.from {
			if !slices.ContainsFunc(slices.Collect(maps.Keys(packages)), func(name string) bool { return matches(name, []string{pattern}) }) {
				t.Errorf("a rule is about %s, and there is no such package", pattern)
			}
		}
		for name, p := range packages {
			if !matches(name, r.from) || matches(name, r.except) {
				continue
			}
			reached := p.Deps
			if r.direct {
				reached = p.Imports
			}
			for _, dep := range reached {
				if matches(dep, r.to) {
					t.Errorf("%s\n\tis forbidden: %s", way(packages, name, dep), r.reason)
				}
			}
		}
	}
}

// way is the shortest chain of imports from a package to what it must not reach.
func way(packages map[string]*pkg, from, to string) string {
	before := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at == to {
			chain := []string{strings.TrimPrefix(to, module)}
			for at = before[at]; at != ""; at = before[at] {
				chain = append(chain, strings.TrimPrefix(at, module))
			}
			slices.Reverse(chain)
			return strings.Join(chain, " → ")
		}
		p := packages[at]
		if p == nil {
			continue
		}
		for _, next := range p.Imports {
			if _, seen := before[next]; !seen {
				before[next] = at
				queue = append(queue, next)
			}
		}
	}
	return from + " → … → " + to // through packages of others
}
