package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/encoding/yaml"
)

// A composite action, as GitHub's metadata syntax has it.
const compositeAction = `
name!:        string
description!: string
branding?: {icon!: string, color!: string}
inputs?: [=~"^[a-z][a-z-]*$"]: {description!: string, default!: string}
outputs?: [=~"^[a-z][a-z-]*$"]: {description!: string, value!: string}
runs!: close({
	using!: "composite"
	steps!: [...close({
		id?: string, if?: string, env?: [string]: string, "working-directory"?: string
		uses?: =~"^[a-z-]+/[a-z-]+@v[0-9]+$", with?: {...}
		run?: string, shell?: "bash"
	})]
})
`

func yamlOf(t *testing.T, name, text string) cue.Value {
	t.Helper()
	f, err := yaml.Extract(name, text)
	if err != nil {
		t.Fatal(err)
	}
	v := cuecontext.New().BuildFile(f)
	if v.Err() != nil {
		t.Fatal(v.Err())
	}
	return v
}

func textOf(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// fenced is the block of docs/ci.md between three backticks that begins with this line.
func fenced(t *testing.T, begin string) string {
	t.Helper()
	_, block, ok := strings.Cut(textOf(t, "../../docs/ci.md"), "\n```"+begin+"\n")
	block, _, end := strings.Cut(block, "\n```\n")
	if !ok || !end {
		t.Fatalf("docs/ci.md has no block %s", begin)
	}
	return block + "\n"
}

// names are the fields of a value.
func names(t *testing.T, v cue.Value) (all []string) {
	t.Helper()
	fields, err := v.Fields()
	if err != nil {
		t.Fatal(err)
	}
	for fields.Next() {
		all = append(all, fields.Selector().Unquoted())
	}
	return all
}

// action.yml is what GitHub takes, gives the script all that it reads, puts no input into a program's text, and is what the
// documentation says.
func TestActionMetadata(t *testing.T) {
	text := textOf(t, "../../action.yml")
	v := yamlOf(t, "action.yml", text)
	schema := cuecontext.New().CompileString("close({" + compositeAction + "})")
	if err := v.Unify(schema).Validate(cue.Concrete(true)); err != nil {
		t.Fatal(err)
	}
	inputs := map[string]bool{}
	for _, name := range names(t, v.LookupPath(cue.ParsePath("inputs"))) {
		inputs[name] = true
		if !strings.Contains(text, "inputs."+name) {
			t.Errorf("the input %s is not read", name)
		}
		if !strings.Contains(textOf(t, "../../docs/ci.md"), "\n| `"+name+"` | ") {
			t.Errorf("docs/ci.md does not say what %s is", name)
		}
	}
	for _, used := range regexp.MustCompile(`inputs\.([a-z-]+)`).FindAllStringSubmatch(text, -1) {
		if !inputs[used[1]] {
			t.Errorf("there is no input %s", used[1])
		}
	}
	steps, err := v.LookupPath(cue.ParsePath("runs.steps")).List()
	if err != nil {
		t.Fatal(err)
	}
	var env []string
	for steps.Next() {
		if run, err := steps.Value().LookupPath(cue.ParsePath("run")).String(); err == nil && strings.Contains(run, "${{") {
			t.Errorf("an input is part of a program: %s", run)
		}
		if id, _ := steps.Value().LookupPath(cue.ParsePath("id")).String(); id == "hone" {
			env = names(t, steps.Value().LookupPath(cue.ParsePath("env")))
		}
	}
	script := textOf(t, "../../action/run")
	for _, name := range env {
		if !strings.Contains(script, "\n#   "+name+" ") {
			t.Errorf("action/run does not say what %s is", name)
		}
	}
	for _, said := range regexp.MustCompile(`(?m)^#   (HONE\w*) `).FindAllStringSubmatch(script, -1) {
		if !strings.Contains(strings.Join(env, " ")+" ", said[1]+" ") {
			t.Errorf("action.yml does not give %s", said[1])
		}
	}
	for _, out := range names(t, v.LookupPath(cue.ParsePath("outputs"))) {
		if !strings.Contains(script, out+"=%s") {
			t.Errorf("action/run has no output %s", out)
		}
	}
}

// The workflow of the documentation is YAML that names inputs which the action has.
func TestActionWorkflow(t *testing.T) {
	inputs := yamlOf(t, "action.yml", textOf(t, "../../action.yml")).LookupPath(cue.ParsePath("inputs"))
	workflow := yamlOf(t, "hone.yml", fenced(t, "yaml github"))
	steps, err := workflow.LookupPath(cue.ParsePath("jobs.review.steps")).List()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for steps.Next() {
		if uses, _ := steps.Value().LookupPath(cue.ParsePath("uses")).String(); strings.HasPrefix(uses, "hone-ml/hone@") {
			found = true
			if with := steps.Value().LookupPath(cue.ParsePath("with")); with.Exists() {
				for _, name := range names(t, with) {
					if !inputs.LookupPath(cue.MakePath(cue.Str(name))).Exists() {
						t.Errorf("there is no input %s", name)
					}
				}
			}
		}
	}
	if !found {
		t.Error("the workflow does not use the action")
	}
	if write, _ := workflow.LookupPath(cue.ParsePath(`permissions."pull-requests"`)).String(); write != "write" {
		t.Error("the job may write no comment")
	}
}

// The script of the documentation's GitLab job writes one note and updates it.
func TestGitLabJob(t *testing.T) {
	r := repository(t, github(t))
	job := yamlOf(t, "gitlab.yml", fenced(t, "yaml gitlab"))
	var lines []string
	if err := job.LookupPath(cue.ParsePath("hone.script")).Decode(&lines); err != nil {
		t.Fatal(err)
	}
	var notes []*remark
	for i := range 130 {
		notes = append(notes, &remark{i + 1, "fine"})
	}
	const list = "/api/v4/projects/3/merge_requests/7/notes"
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+list, func(w http.ResponseWriter, r *http.Request) {
		page, _ := strconv.Atoi(r.FormValue("page"))
		from, to := min((page-1)*100, len(notes)), min(page*100, len(notes))
		next := ""
		if to < len(notes) {
			next = strconv.Itoa(page + 1)
		}
		w.Header().Set("X-Next-Page", next)
		answer(w, http.StatusOK, notes[from:to])
	})
	mux.HandleFunc("POST "+list, func(w http.ResponseWriter, r *http.Request) {
		notes = append(notes, &remark{len(notes) + 1, r.FormValue("body")})
		answer(w, http.StatusCreated, notes[len(notes)-1])
	})
	mux.HandleFunc("PUT "+list+"/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, _ := strconv.Atoi(r.PathValue("id"))
		notes[id-1].Body = r.FormValue("body")
		answer(w, http.StatusOK, notes[id-1])
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("PRIVATE-TOKEN") != "secret" {
			refuse(w, http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	defer server.Close()
	run := func(env ...string) {
		t.Helper()
		c := exec.Command("bash", "-eo", "pipefail", "-c", strings.Join(lines, "\n"))
		c.Dir = r.dir
		c.Env = append(os.Environ(), "HONE_TOKEN=secret", "CI_API_V4_URL="+server.URL+"/api/v4", "CI_PROJECT_ID=3", "CI_MERGE_REQUEST_IID=7",
			"CI_MERGE_REQUEST_TARGET_BRANCH_NAME=main", "HONE_STORE="+filepath.Join(r.tmp, "store"))
		c.Env = append(c.Env, env...)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	r.branch("change")
	run()
	r.write("p/p.cue", strings.Replace(honest, "seed: 1", "seed: 2", 1))
	r.commit()
	run("HONE_TOKEN=")
	if len(notes) != 130 {
		t.Errorf("%d notes", len(notes))
	}
	run()
	mine := notes[len(notes)-1]
	if len(notes) != 131 || !strings.Contains(mine.Body, "seed") {
		t.Fatalf("%d notes, %s", len(notes), mine.Body)
	}
	r.write("p/p.cue", honest+"\n// nothing\n")
	r.commit()
	run()
	if len(notes) != 131 || !strings.Contains(mine.Body, "no change in meaning") {
		t.Errorf("%d notes, %s", len(notes), mine.Body)
	}
}
