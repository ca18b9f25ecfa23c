package provenance

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/hone-ml/hone/runner"
)

// cardRows bounds each table of a card.
const cardRows = 100

// front is the YAML before a card, as huggingface_hub reads it.
type front struct {
	BaseModel   string   `yaml:"base_model,omitempty"`
	Relation    string   `yaml:"base_model_relation,omitempty"`
	LibraryName string   `yaml:"library_name,omitempty"`
	License     string   `yaml:"license,omitempty"`
	PipelineTag string   `yaml:"pipeline_tag"`
	Tags        []string `yaml:"tags"`
	ModelIndex  []index  `yaml:"model-index,omitempty"`
}

type index struct {
	Name    string   `yaml:"name"`
	Results []result `yaml:"results"`
}

type result struct {
	Task    struct{ Type string } `yaml:"task"`
	Dataset struct{ Name, Type string }
	Metrics []metric
}

type metric struct {
	Type  string
	Value float64
	Name  string
}

// Card is the README.md of a model. All that it says is of the records: what it was made of, with which settings, on which data,
// and how it was measured. It holds no time stamp.
func (f *Facts) Card() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("---\n")
	y := yaml.NewEncoder(&b)
	y.SetIndent(2)
	if err := y.Encode(f.front()); err != nil {
		return nil, err
	}
	b.WriteString("---\n\n")
	fmt.Fprintf(&b, "# %s\n\n%s\n", plain(f.Name()), f.about())
	f.loading(&b)
	f.measured(&b)
	for i, t := range f.Trainings {
		f.training(&b, t, i)
	}
	f.dataTable(&b)
	f.made(&b)
	return b.Bytes(), nil
}

func (f *Facts) front() front {
	y := front{BaseModel: f.BaseName, License: f.License, PipelineTag: "text-generation", Tags: []string{"hone"}}
	switch {
	case f.Format == "peft":
		y.LibraryName, y.Relation = "peft", "adapter"
		y.Tags = append(y.Tags, "lora")
	case f.Format == "gguf":
		y.Tags = append(y.Tags, "gguf")
		y.Relation = "quantized"
	default:
		y.LibraryName = "transformers"
	}
	for _, t := range f.Trainings {
		if f.Format != "peft" {
			y.Relation = "finetune"
		}
		if _, method, _ := strings.Cut(t.Kind, "."); !slices.Contains(y.Tags, method) {
			y.Tags = append(y.Tags, method)
		}
	}
	if y.BaseModel == "" {
		y.Relation = ""
	}
	if len(f.Evals) == 0 {
		return y
	}
	entry := index{Name: f.Name()}
	for _, e := range f.Evals {
		name := e.metric()
		if name != e.Suite {
			name += " of " + e.Suite
		}
		r := result{Metrics: []metric{{e.metric(), e.After.Value, name}}}
		r.Task.Type = "text-generation"
		// huggingface_hub takes results of one type for results on one data set: a suite's, not the file's that several share.
		r.Dataset.Name, r.Dataset.Type = e.Suite, e.Suite
		entry.Results = append(entry.Results, r)
	}
	y.ModelIndex = []index{entry}
	return y
}

// about is the sentence that says what it is.
func (f *Facts) about() string {
	what := "A model"
	switch f.Format {
	case "peft":
		what = "An adapter (PEFT)"
	case "gguf":
		what = "A model in GGUF"
	}
	said := what
	var by []string
	for _, t := range slices.Backward(f.Trainings) {
		by = append(by, "`"+t.Kind+"`")
	}
	if len(by) > 0 {
		said += " trained by " + strings.Join(by, ", then ")
	}
	switch {
	case f.BaseName != "":
		said += fmt.Sprintf(" from [%s](https://huggingface.co/%s) at commit `%s`", plain(f.BaseName), f.BaseName, f.BaseCommit)
	case f.Fresh != nil:
		said += " from random weights"
	case f.Base != nil && len(f.Base.Sources) > 0:
		said += " from " + code(f.Base.Sources[0].label())
	}
	said += ", made with [hone](https://github.com/hone-ml/hone). This page is drawn from the records of its runs."
	if slices.ContainsFunc(f.Evals, func(e Eval) bool { return len(e.Fails) > 0 }) {
		said += " **A gate of its pipeline fails**: see Evaluation."
	}
	return said
}

func (f *Facts) loading(b *bytes.Buffer) {
	b.WriteString("\n## Use\n\n")
	switch f.Format {
	case "gguf":
		b.WriteString("```sh\nllama-cli -m model.gguf\n```\n")
	case "peft":
		base := f.BaseName
		if base == "" {
			base = "BASE"
		}
		fmt.Fprintf(b, "```python\nfrom peft import PeftModel\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"+
			"model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(%q), \".\")\ntokenizer = AutoTokenizer.from_pretrained(\".\")\n```\n", base)
	default:
		b.WriteString("```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n" +
			"model = AutoModelForCausalLM.from_pretrained(\".\")\ntokenizer = AutoTokenizer.from_pretrained(\".\")\n```\n")
	}
}

func (f *Facts) measured(b *bytes.Buffer) {
	if len(f.Evals) == 0 {
		return
	}
	gated := slices.ContainsFunc(f.Evals, func(e Eval) bool { return e.Gated })
	gate, rule := "", ""
	if gated {
		gate, rule = " gate |", "---|"
	}
	fmt.Fprintf(b, "\n## Evaluation\n\n| suite | metric | rows | before | after |%s\n|---|---|---:|---:|---:|%s\n", gate, rule)
	var fails []string
	for _, e := range f.Evals {
		if gated {
			gate = " " + e.verdict() + " |"
		}
		fails = append(fails, e.Fails...)
		before := ""
		if e.Before != nil {
			before = measure(*e.Before)
		}
		fmt.Fprintf(b, "| %s | %s | %d | %s | %s |%s\n", plain(e.Suite), plain(e.metric()), e.After.Rows, before, measure(e.After), gate)
	}
	if slices.ContainsFunc(f.Evals, func(e Eval) bool { return e.Before != nil }) {
		b.WriteString("\nBefore is the baseline that the eval names.\n")
	}
	for _, why := range fails {
		fmt.Fprintf(b, "\n**A gate fails.** %s.\n", plain(why))
	}
}

func measure(m runner.Measure) string {
	if m.Metric == "perplexity" {
		return fmt.Sprintf("%.3f", m.Value)
	}
	return fmt.Sprintf("%.1f%%", 100*m.Value)
}

func (f *Facts) training(b *bytes.Buffer, t *Run, i int) {
	fmt.Fprintf(b, "\n## Training: `%s`\n\n", t.Kind)
	if i > 0 {
		b.WriteString("Before the one above.\n\n")
	}
	b.WriteString("| setting | value |\n|---|---|\n")
	settings := slices.DeleteFunc(t.Settings(), func(s Setting) bool { // what an edge carries is no setting
		return slices.ContainsFunc(t.Inputs, func(in Input) bool { return in.Field+".kind" == s.Field })
	})
	for _, s := range settings[:min(cardRows, len(settings))] {
		label := code(s.Field)
		if s.Field == "date" {
			label += ", which templates read as today"
		}
		fmt.Fprintf(b, "| %s | %s |\n", label, code(text(s.Value)))
	}
	more(b, len(settings))
	var said []string
	if t.Numerics != nil {
		said = append(said, t.Numerics.String())
	}
	said = append(said, (time.Duration(t.Seconds * float64(time.Second))).Round(time.Second/10).String())
	fmt.Fprintf(b, "\nRan on: %s. ", strings.Join(said, "; "))
	var figures []string
	for _, name := range slices.Sorted(maps.Keys(t.Metrics)) {
		figures = append(figures, fmt.Sprintf("%s %.6g", code(name), t.Metrics[name]))
	}
	if len(figures) > 0 {
		b.WriteString("It ended with " + strings.Join(figures, ", ") + ".")
	}
	b.WriteString("\n")
}

func (f *Facts) dataTable(b *bytes.Buffer) {
	rows := f.rows()
	if len(rows) == 0 {
		return
	}
	b.WriteString("\n## Data\n\n| source | rows | hash |\n|---|---:|---|\n")
	for _, s := range rows[:min(cardRows, len(rows))] {
		n, hash := "", "blake3 `"+s.Hash+"`"
		if count := f.rowsOf(s); count > 0 {
			n = fmt.Sprint(count)
		}
		switch {
		case s.At != "":
			hash = "commit `" + s.At + "`"
		case strings.HasSuffix(s.Name, "/"):
			hash = TreeDigest + " `" + s.Hash + "`"
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", code(s.label()), n, hash)
	}
	more(b, len(rows))
}

func (f *Facts) made(b *bytes.Buffer) {
	fmt.Fprintf(b, "\n## How it was made\n\nThe stages of the pipeline %s, the last first. A key is the hash of all that decides a stage's result;\n"+
		"`hone plan --json` in the pipeline's folder shows the same keys where nothing has changed, and `hone run` makes the same again.\n\n"+
		"| stage | kind | key | made |\n|---|---|---|---|\n", code(f.Made.Pipeline))
	for _, r := range f.Runs[:min(cardRows, len(f.Runs))] {
		var made []string
		for _, port := range slices.Sorted(maps.Keys(r.Outputs)) {
			made = append(made, fmt.Sprintf("%s `%.12s`", plain(port), r.Outputs[port].Hash))
		}
		fmt.Fprintf(b, "| %s | `%s` | `%.12s` | %s |\n", plain(r.Stage), r.Kind, r.Key, strings.Join(made, ", "))
	}
	more(b, len(f.Runs))
	versions := map[string]bool{}
	for _, r := range f.Runs {
		versions[r.Version] = true
	}
	fmt.Fprintf(b, "\nhone %s. Whole keys and hashes are in `%s`; `hone verify .` holds these files against it.\n",
		plain(strings.Join(slices.Sorted(maps.Keys(versions)), ", ")), File)
}

// more ends a table that was cut.
func more(b *bytes.Buffer, n int) {
	if n > cardRows {
		fmt.Fprintf(b, "\nand %d more\n", n-cardRows)
	}
}

// License is what a card's front matter says: the hub's word for it, or the name of another one; "" where it says none.
func License(card []byte) string {
	text, ok := bytes.CutPrefix(bytes.TrimPrefix(card, []byte("\ufeff")), []byte("---"))
	if !ok {
		return ""
	}
	text, _, ok = bytes.Cut(text, []byte("\n---"))
	var front struct {
		License string
		Name    string `yaml:"license_name"`
	}
	if !ok || yaml.Unmarshal(text, &front) != nil {
		return "" // lists of licences too: then there is not one
	}
	if front.License == "other" && front.Name != "" {
		return front.Name
	}
	return front.License
}

// plain is text in which Markdown finds nothing to do.
func plain(s string) string {
	return strings.NewReplacer("\\", "\\\\", "`", "\\`", "*", "\\*", "_", "\\_", "[", "\\[", "]", "\\]", "<", "&lt;", "|", "\\|", "#", "\\#", "\n", " ", "\r", " ").Replace(short(s))
}

// code is text as code, in a table's cell too.
func code(s string) string {
	s = strings.NewReplacer("`", "'", "|", "\\|", "\n", " ", "\r", " ").Replace(short(s))
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// short keeps a prompt or a template from filling the page.
func short(s string) string {
	if r := []rune(s); len(r) > 200 {
		return string(r[:200]) + "…"
	}
	return s
}
