package provenance

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hone-ml/hone/internal/bounded"
	"github.com/hone-ml/hone/runner/store"
)

// Facts is what BOM and card say of a model, drawn from its lineage.
type Facts struct {
	*Lineage
	Kind         string // of the artifact: model, adapter, …
	Format       string // hf, peft or gguf
	Hash         string // of the artifact
	Trainings    []*Run // the last first
	Base         *Run   // the model.load that it begins with; nil where no record says, and of random weights
	Fresh        *Run   // the model.load that made the random weights that it begins with
	BaseName     string // org/name on the hub; "" where the base is not from there, or its repository is not known
	BaseCommit   string
	License      string // of the base, by its own card; the hub's word for it
	Others       []*Run // model.loads of other models: a teacher's, a reference's
	Family       string // model_type of config.json
	Architecture string

	license func(repo, commit string) string
}

// Facts finds them. An artifact with several ports has to be named with one. license tells what the base's card on the hub
// says, "" where that is not at hand.
func (l *Lineage) Facts(st *store.Store, format string, license func(repo, commit string) string) *Facts {
	f := &Facts{Lineage: l, Format: format}
	for _, out := range l.Hashes() {
		f.Kind, f.Hash = out.Kind, out.Hash
	}
	for run := l.Made; run != nil; run = run.model() {
		f.configure(st, run)
		switch {
		case strings.HasPrefix(run.Kind, "train.") || run.Kind == "model.pretrain":
			f.Trainings = append(f.Trainings, run)
		case run.Kind == "export" && f.Format == "":
			f.Format = run.Setting("format")
		case run.Kind == "model.load" && run.fresh():
			f.Fresh = run
		case run.Kind == "model.load":
			f.Base = run
		}
	}
	if f.Format == "" {
		if f.Format = "hf"; f.adapts() {
			f.Format = "peft"
		}
	}
	for _, run := range f.Runs {
		if run.Kind == "model.load" && run != f.Base && run != f.Fresh && run != f.Made {
			f.Others = append(f.Others, run)
		}
	}
	f.license = license
	if f.Base == nil {
		return f
	}
	f.BaseName, f.BaseCommit = f.Base.hub()
	f.License = f.licenseOf(f.Base)
	return f
}

// adapts says whether the artifact is an adapter, or what an export stage wrote of one.
func (f *Facts) adapts() bool {
	if f.Made.Kind != "export" {
		return f.Kind == "adapter"
	}
	for _, in := range f.Made.Inputs {
		if in.Field == "model.base" {
			return true
		}
	}
	return false
}

// hub is the repository and commit that a model.load took; "" where it was none, or its name is not known.
func (r *Run) hub() (repo, commit string) {
	for _, s := range r.Sources {
		if s.Repo != "" {
			return s.Repo, s.At
		}
	}
	return "", ""
}

func (f *Facts) licenseOf(r *Run) string {
	if repo, commit := r.hub(); repo != "" && f.license != nil {
		return f.license(repo, commit)
	}
	return ""
}

// model is the run that made the model which a run began with; nil where it began with none, or no record says. Of a model and
// others beside it, a reference or a teacher, it is the field model.
func (r *Run) model() *Run {
	for _, in := range r.Inputs {
		if in.Field == "model" {
			return in.Run
		}
	}
	return nil
}

// fresh says of a model.load that its weights are random, by a config.
func (r *Run) fresh() bool {
	return slices.ContainsFunc(r.Settings(), func(s Setting) bool { return strings.HasPrefix(s.Field, "config.") })
}

// configure reads what a model says of itself: the first of the chain that has a config.json.
func (f *Facts) configure(st *store.Store, run *Run) {
	for _, port := range slices.Sorted(maps.Keys(run.Outputs)) {
		if f.Family != "" {
			return
		}
		var config struct {
			ModelType     string   `json:"model_type"`
			Architectures []string `json:"architectures"`
		}
		b, err := bounded.ReadFile(filepath.Join(st.Tree(run.Outputs[port].Hash), "config.json"), 16<<20)
		if err != nil || json.Unmarshal(b, &config) != nil {
			continue // it only adds to what is said
		}
		f.Family = config.ModelType
		if len(config.Architectures) > 0 {
			f.Architecture = config.Architectures[0]
		}
	}
}

// Name is the pipeline and the stage.
func (f *Facts) Name() string { return f.Made.Pipeline + "/" + f.Made.Stage }

// rows is what the model was trained on: sources of the trainings that are not models.
func (f *Facts) rows() []Source {
	var all []Source
	seen := map[*Run]bool{}
	var walk func(r *Run)
	walk = func(r *Run) {
		if r == nil || seen[r] {
			return
		}
		seen[r] = true
		if r.Kind != "model.load" && r.Kind != "template.set" {
			for _, s := range r.Sources {
				if !slices.ContainsFunc(all, func(a Source) bool { return a.Hash == s.Hash && a.At == s.At }) {
					all = append(all, s)
				}
			}
		}
		for _, in := range r.Inputs {
			walk(in.Run)
		}
	}
	for _, t := range f.Trainings {
		for _, in := range t.Inputs {
			if in.Field != "model" && in.Field != "model.base" {
				walk(in.Run)
			}
		}
	}
	return all
}

// rowsOf is the number of rows that a data.load read of a source; 0 where none did.
func (f *Facts) rowsOf(s Source) int64 {
	for _, r := range f.Runs {
		if r.Kind == "data.load" && len(r.Sources) > 0 && r.Sources[0].Hash == s.Hash {
			return int64(r.Metrics["rows"])
		}
	}
	return 0
}

// metric is the hub's word for what an eval measured: by its grader.
func (e Eval) metric() string {
	if e.After.Metric == "perplexity" {
		return "perplexity"
	}
	for _, s := range e.Run.Settings() {
		rest, ok := strings.CutPrefix(s.Field, "suites."+e.Suite+".")
		if !ok {
			continue
		}
		switch grader, _, _ := strings.Cut(rest, "."); grader {
		case "exact":
			return "exact_match"
		case "choice", "number":
			return "accuracy"
		}
	}
	return "score"
}

// verdict is what its gate says.
func (e Eval) verdict() string {
	switch {
	case len(e.Fails) > 0:
		return "fails"
	case e.Gated:
		return "holds"
	}
	return "–"
}
