package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

const honest = `package p

import "github.com/hone-ml/hone/schemas"

schemas.#Pipeline

name: "p"
stages: {
	rows: {kind: "data.load", source: "rows.jsonl"}
	parts: {kind: "curate.split", data: stages.rows.out.data, parts: {train: 0.9, test: 0.1}, seed: 1}
}
`

// A pull request gets one comment, which is kept up to date wherever among others it stands.
func TestActionComments(t *testing.T) {
	g := github(t)
	g.talk(250)
	g.comments = append(g.comments, &remark{ID: 9, Body: "quoting <!-- hone diff --> is no comment of the action's"})
	r := repository(t, g)
	r.branch("change")
	r.write("p/p.cue", strings.Replace(honest, "seed: 1", "seed: 2", 1))
	r.commit()

	out := r.action(0)
	mine := g.last()
	if len(g.comments) != 252 || !strings.HasPrefix(mine.Body, "<!-- hone diff -->\n### hone diff\n") || !strings.Contains(mine.Body, "seed") {
		t.Fatalf("%d comments, the last one\n%s\n%s", len(g.comments), mine.Body, out)
	}
	if !strings.Contains(r.outputs(), "valid=true\nchanged=true\n") {
		t.Errorf("outputs: %s", r.outputs())
	}
	if got := r.summary(); !strings.Contains(got, "1 pipeline changed") {
		t.Errorf("summary: %s", got)
	}

	g.talk(120) // the comment is then on the third of four pages
	r.write("p/p.cue", strings.Replace(honest, "0.9", "0.8", 1))
	r.commit()
	r.action(0)
	if len(g.comments) != 372 || !strings.Contains(mine.Body, "parts.train") || strings.Contains(mine.Body, "seed") {
		t.Errorf("%d comments, mine\n%s", len(g.comments), mine.Body)
	}

	r.write("p/p.cue", "// The same in other words.\n"+honest)
	r.commit()
	r.action(0)
	if !strings.Contains(mine.Body, "no change in meaning") || len(g.comments) != 372 {
		t.Errorf("%d comments, mine\n%s", len(g.comments), mine.Body)
	}
	if !strings.HasSuffix(r.outputs(), "valid=true\nchanged=false\n") {
		t.Errorf("outputs: %s", r.outputs())
	}
}

// Where nothing changed in meaning there is no comment, unless one is asked for; with never there is none at all.
func TestActionIsQuiet(t *testing.T) {
	g := github(t)
	r := repository(t, g)
	r.branch("change")
	r.write("p/p.cue", "// Other words.\n"+honest)
	r.commit()
	r.action(0)
	if len(g.comments) > 0 {
		t.Errorf("a comment: %s", g.last().Body)
	}
	r.action(0, "HONE_COMMENT=always")
	if len(g.comments) != 1 || !strings.Contains(g.last().Body, "no change in meaning (1 pipeline)") {
		t.Errorf("%d comments", len(g.comments))
	}
	r.write("p/p.cue", strings.Replace(honest, "seed: 1", "seed: 2", 1))
	r.commit()
	asked := g.asked
	r.action(0, "HONE_COMMENT=never")
	r.action(0, "HONE_BASE=") // a push: checked, with nothing to compare with
	r.action(0, "GITHUB_EVENT_PATH="+r.event(`{"ref": "refs/heads/main"}`))
	if g.asked != asked {
		t.Errorf("%d requests", g.asked-asked)
	}
	if out := r.action(0, "HONE_TOKEN="); !strings.Contains(out, "::warning title=hone::no token") {
		t.Error(out)
	}
}

// A comment that GitHub does not take is a warning, and the comparison is in the summary: so it is for a fork, whose token may only read.
func TestActionWithoutPermission(t *testing.T) {
	g := github(t)
	r := repository(t, g)
	r.branch("change")
	r.write("p/p.cue", strings.Replace(honest, "seed: 1", "seed: 2", 1))
	r.commit()
	for _, c := range []struct {
		refuse func(*http.Request) int
		says   string
	}{
		{func(r *http.Request) int { return map[bool]int{true: 403}[r.Method == http.MethodPost] }, "the comment cannot be written: 403 Resource not accessible by integration; the job needs permissions: pull-requests: write"},
		{func(*http.Request) int { return 401 }, "the comments cannot be read: 401 Bad credentials; is the token right?"},
		{func(*http.Request) int { return 404 }, "the comments cannot be read: 404 Not Found"},
		{func(r *http.Request) int { return map[bool]int{true: 422}[r.Method == http.MethodPost] }, "the comment cannot be written: 422 Validation Failed"},
	} {
		g.refuse = c.refuse
		out := r.action(0)
		if !strings.Contains(out, "::warning title=hone::"+c.says) || len(g.comments) > 0 {
			t.Errorf("no %q in\n%s", c.says, out)
		}
		if !strings.Contains(r.summary(), "1 pipeline changed") {
			t.Errorf("summary: %s", r.summary())
		}
	}
	g.refuse = nil
	g.Close()
	if out := r.action(0); !strings.Contains(out, "::warning title=hone::the comments cannot be read: 000 curl: (7)") {
		t.Error(out)
	}
}

// The token is sent to the API alone, whatever page it names as the next.
func TestActionKeepsTheToken(t *testing.T) {
	stranger := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("a stranger is asked for %s", r.URL) }))
	defer stranger.Close()
	g := github(t)
	g.talk(150)
	g.elsewhere = stranger.URL
	r := repository(t, g)
	r.branch("change")
	r.write("p/p.cue", strings.Replace(honest, "seed: 1", "seed: 2", 1))
	r.commit()
	r.action(0)
}

// What is wrong stands where it is wrong, fails the job, and is in the comment.
func TestActionAnnotates(t *testing.T) {
	g := github(t)
	r := repository(t, g)
	r.branch("change")
	r.write("p/p.cue", strings.NewReplacer("seed: 1", "sed: 1", `"rows.jsonl"`, `"100%,\n::error::x.jsonl"`, "\tparts:", "\tparts:  ").Replace(honest))
	r.commit()
	out := r.action(3)
	for _, want := range []string{
		"::error file=p/p.cue,line=10,col=1,title=hone vet::not as cue fmt writes it: cue fmt p/p.cue\n",
		"::error file=p/p.cue,line=10,col=",
		"title=hone vet::stages.parts.sed: field not allowed",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	for _, want := range []string{"### hone diff\n\nnot compared: 1 pipeline\n", "\n> **invalid** `p/p.cue:10` `stages.parts.sed`: field not allowed", "```\np/p.cue:10:1: not as cue fmt writes it: cue fmt p/p.cue\n```"} {
		if len(g.comments) != 1 || !strings.Contains(g.last().Body, want) {
			t.Fatalf("no %q in the comment", want)
		}
	}
	r.action(0, "HONE_FAIL_ON=none")
	r.write("p/p.cue", strings.NewReplacer("seed: 1", "seed: 2", `"rows.jsonl"`, `"100%,\n::error::x.jsonl"`).Replace(honest))
	r.commit()
	out = r.action(0)
	if want := `::notice file=p/p.cue,line=9,col=28,title=hone vet::stages.rows.source: 100%25,%0A::error::x.jsonl: not here` + "\n"; !strings.Contains(out, want) {
		t.Errorf("no %q in\n%s", want, out)
	}
	loud := filepath.Join(r.tmp, "loud") // a hone that says what a pipeline made it say
	if err := os.WriteFile(loud, []byte("#!/bin/sh\necho '::error::x' >&2\nexec hone \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	out = r.action(0, "HONE="+loud)
	if strings.Count(out, "\n::error::x\n") != 2 || strings.Contains("\n"+unmarked(out), "\n::error") {
		t.Errorf("a pipeline speaks to the runner:\n%s", out)
	}
	if body := g.last().Body; len(g.comments) != 1 || strings.Contains(body, "invalid") || strings.Contains(body, "```\np/") || !strings.Contains(body, "seed") {
		t.Errorf("%d comments, %s", len(g.comments), body)
	}
}

// What hone vet --data proves wrong is an error. The program here says what that one says where a worker is installed.
func TestActionTellsOfData(t *testing.T) {
	g := github(t)
	r := repository(t, g)
	r.branch("change")
	r.write("p/p.cue", strings.Replace(honest, "seed: 1", "seed: 2", 1))
	r.commit()
	proving := filepath.Join(r.tmp, "proving")
	if err := os.WriteFile(proving, []byte(`#!/bin/sh
case "$*" in
"vet ./... --fmt --absent --json --data") ;;
*) exec hone "$@" ;;
esac
echo '{"valid": true, "pipelines": [], "errors": [], "advice": [], "data": [{"stage": "tune", "proofs": [
	{"name": "renders", "state": "proven", "message": ""}, {"name": "mask", "state": "fails", "message": "row 7 trains nothing"}]}]}'
exit 3
`), 0o755); err != nil {
		t.Fatal(err)
	}
	out := r.action(3, "HONE="+proving, "HONE_DATA=true")
	if !strings.Contains(out, "::error title=hone vet::stages.tune: mask: row 7 trains nothing\n") || strings.Contains(out, "renders") {
		t.Error(out)
	}
	if body := g.last().Body; !strings.Contains(body, "seed") || !strings.Contains(body, "stages.tune: mask: row 7") {
		t.Error(body)
	}
	r.action(0, "HONE="+proving)
}

// Advice that a change brings fails the job where that is asked for.
func TestActionFailsOnAdvice(t *testing.T) {
	r := repository(t, github(t))
	r.branch("change")
	r.write("p/p.cue", strings.Replace(honest, "stages: {", "stages: {\n\tother: {kind: \"exec\", command: [\"no-such-program\"], out: data: kind: \"dataset\"}", 1))
	r.commit()
	out := r.action(0)
	if !strings.Contains(out, "::notice file=p/p.cue") {
		t.Fatalf("no advice:\n%s", out)
	}
	r.action(3, "HONE_FAIL_ON=advice")
}

// A folder of its own has a comment of its own, and its places are those of the repository.
func TestActionInAFolder(t *testing.T) {
	g := github(t)
	r := repository(t, g)
	r.branch("change")
	r.write("p/p.cue", strings.Replace(honest, "seed: 1", "sed: 2", 1))
	r.commit()
	r.in = "p"
	out := r.action(3)
	if !strings.Contains(out, "::error file=p/p.cue,line=10,") || !strings.HasPrefix(g.last().Body, "<!-- hone diff p/ -->\n") {
		t.Errorf("%s\n%s", out, g.last().Body)
	}
	r.write("q/q.cue", honest) // what is wrong elsewhere is told too
	r.write("p/p.cue", honest)
	r.write("q/q.cue", strings.Replace(honest, "seed: 1", "sed: 2", 1))
	r.commit()
	out = r.action(3)
	if strings.Count(out, "::error file=q/q.cue,line=10,") != 1 {
		t.Error(out)
	}
	if body := g.last().Body; strings.Count(body, "**invalid** `q/q.cue:10`") != 1 || strings.Contains(body, "p/p.cue") || len(g.comments) != 1 {
		t.Errorf("%d comments, %s", len(g.comments), body)
	}
}

// With a token that writes, beside files of whoever opened the pull request, the job is told what not to do.
func TestActionOnPullRequestTarget(t *testing.T) {
	r := repository(t, github(t))
	const warning = "::warning title=hone::pull_request_target: "
	if out := r.action(0, "GITHUB_EVENT_NAME=pull_request_target"); !strings.Contains(out, warning) {
		t.Error(out)
	}
	if out := r.action(0, "GITHUB_EVENT_NAME=pull_request"); strings.Contains(out, warning) {
		t.Error(out)
	}
}

// A change too big for a comment is cut to fit.
func TestActionFitsTheComment(t *testing.T) {
	g := github(t)
	r := repository(t, g)
	r.branch("change")
	for i := range 12 {
		var b strings.Builder
		for j := range 60 {
			fmt.Fprintf(&b, "\n\tpart%d: {kind: \"curate.split\", data: stages.rows.out.data, parts: {train: 0.9, test: 0.1}, seed: %d}", j, j)
		}
		dir := fmt.Sprintf("p%d", i)
		r.write(dir+"/p.cue", strings.Replace(honest, "\n}", b.String()+"\n}", 1))
		r.write(dir+"/rows.jsonl", `{"text": "a"}`+"\n")
	}
	r.commit()
	out := r.action(0)
	if n := utf8.RuneCountInString(g.last().Body); len(g.comments) != 1 || n > 65_536 || n < 1000 {
		t.Errorf("%d comments, %d characters\n%s", len(g.comments), n, out)
	}
}

// A checkout of one commit, as actions/checkout makes it, fetches its base and where the two parted.
func TestActionInAShallowCheckout(t *testing.T) {
	g := github(t)
	r := repository(t, g)
	r.branch("change")
	for range 55 {
		r.git("commit", "-q", "--allow-empty", "-m", "more")
	}
	r.write("p/p.cue", strings.Replace(honest, "seed: 1", "seed: 2", 1))
	r.commit()
	r.git("push", "-q", "origin", "change")
	r.git("checkout", "-q", "main") // the base goes on meanwhile: what others changed there is not of the pull request
	r.write("p/p.cue", strings.Replace(honest, "0.9", "0.8", 1))
	r.commit()
	r.git("push", "-q", "origin", "main")
	r.git("checkout", "-q", "change")

	full := r.dir
	r.shallow("refs/heads/change")
	out := r.action(0)
	if body := g.last().Body; !strings.Contains(body, "seed") || strings.Contains(body, "parts.train") {
		t.Errorf("%s\n%s", out, body)
	}

	// What GitHub checks out is the merge of both.
	r.dir = full
	r.git("checkout", "-q", "--detach", "main")
	r.git("merge", "-q", "--no-commit", "-X", "ours", "change")
	r.write("p/p.cue", strings.NewReplacer("seed: 1", "seed: 2", "0.9", "0.8").Replace(honest))
	r.commit()
	r.git("push", "-q", "origin", "HEAD:refs/pull/7/merge")
	r.shallow("refs/pull/7/merge")
	g.comments = nil
	out = r.action(0)
	if len(g.comments) != 1 || !strings.Contains(g.last().Body, "seed") || strings.Contains(g.last().Body, "parts.train") {
		t.Errorf("%s\n%v", out, g.comments)
	}

	out = r.action(2, "HONE_BASE=gone")
	if !strings.Contains(out, "::error title=hone::base: gone: fatal: couldn't find remote ref gone\n") {
		t.Error(out)
	}

	// A whole clone stays whole.
	r.dir = full
	r.git("checkout", "-q", "change")
	r.action(0)
	if got := r.git("rev-parse", "--is-shallow-repository"); got != "false\n" {
		t.Error("the clone has become shallow")
	}
	r.git("checkout", "-q", "--orphan", "island")
	r.write("p/p.cue", honest)
	r.commit()
	if out := r.action(2); !strings.Contains(out, "::error title=hone::base: main and HEAD have no commit in common") {
		t.Error(out)
	}
}

// Wrong usage is told in the log, with exit status 2; a missing program is 6.
func TestActionUsage(t *testing.T) {
	r := repository(t, github(t))
	for _, c := range []struct {
		env, says string
		code      int
	}{
		{"HONE_COMMENT=yes", "comment: yes: changes, always or never", 2},
		{"HONE_FAIL_ON=warnings", "fail-on: warnings: errors, advice or none", 2},
		{"HONE_DATA=1", "data: 1: true or false", 2},
		{"HONE_TAGS=size=7", "hone vet: ", 2},
		{"HONE_BASE=--upload-pack=touch ran", "base: --upload-pack=touch ran: no branch, tag or commit", 2},
		{"HONE=no-such-hone", "no-such-hone is not on PATH", 6},
	} {
		if out := r.action(c.code, c.env); !strings.Contains(out, "::error title=hone::"+c.says) {
			t.Errorf("%s: %s", c.env, out)
		}
	}
	r.in = ".."
	if out := r.action(2); !strings.Contains(out, "no git repository here") {
		t.Error(out)
	}
}

// checkout is a clone of a repository that holds one pipeline, with the files that a job of GitHub's has.
type checkout struct {
	t       *testing.T
	g       *comments
	tmp     string
	dir, in string
}

func repository(t *testing.T, g *comments) *checkout {
	t.Helper()
	for _, program := range []string{"git", "curl", "jq", "bash"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	r := &checkout{t: t, g: g, tmp: t.TempDir()}
	for name, value := range map[string]string{
		"HOME": r.tmp, "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org",
	} {
		t.Setenv(name, value)
	}
	r.dir = r.tmp
	r.git("init", "-q", "--bare", "-b", "main", "origin")
	r.git("clone", "-q", "file://"+filepath.Join(r.tmp, "origin"), "clone")
	r.dir = filepath.Join(r.tmp, "clone")
	r.git("checkout", "-q", "-b", "main")
	r.write("p/p.cue", honest)
	r.write("p/rows.jsonl", `{"text": "a"}`+"\n")
	r.commit()
	r.git("push", "-q", "origin", "main")
	return r
}

func (r *checkout) git(args ...string) string {
	r.t.Helper()
	c := exec.Command("git", args...)
	c.Dir = r.dir
	out, err := c.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		r.t.Fatalf("git %s: %s", strings.Join(args, " "), exit.Stderr)
	} else if err != nil {
		r.t.Fatal(err)
	}
	return string(out)
}

func (r *checkout) write(name, text string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *checkout) commit() {
	r.t.Helper()
	r.git("add", "-A")
	r.git("commit", "-q", "-m", "change")
}

func (r *checkout) branch(name string) { r.git("checkout", "-q", "-b", name) }

// shallow checks a ref of the origin out as actions/checkout does: one commit, on no branch.
func (r *checkout) shallow(ref string) {
	r.t.Helper()
	r.dir = r.t.TempDir()
	r.git("init", "-q")
	r.git("remote", "add", "origin", "file://"+filepath.Join(r.tmp, "origin"))
	r.git("fetch", "-q", "--no-tags", "--depth=1", "origin", "+"+ref+":refs/remotes/pull")
	r.git("checkout", "-q", "--detach", "refs/remotes/pull")
}

// action runs the action's script as a job for pull request 7 does, with more of the environment, and gives its log.
func (r *checkout) action(code int, env ...string) string {
	r.t.Helper()
	script, err := filepath.Abs("../../action/run")
	if err != nil {
		r.t.Fatal(err)
	}
	c := exec.Command("bash", script)
	c.Dir = filepath.Join(r.dir, r.in)
	c.Env = append(os.Environ(), "HONE=hone", "HONE_BASE=main", "HONE_TOKEN=secret", "HONE_STORE="+filepath.Join(r.tmp, "store"),
		"GITHUB_API_URL="+r.g.URL, "GITHUB_REPOSITORY=hone-ml/hone", "GITHUB_EVENT_PATH="+r.event(`{"pull_request": {"number": 7}}`),
		"GITHUB_STEP_SUMMARY="+filepath.Join(r.tmp, "summary"), "GITHUB_OUTPUT="+filepath.Join(r.tmp, "output"))
	c.Env = append(c.Env, env...)
	out, err := c.CombinedOutput()
	if got := c.ProcessState.ExitCode(); got != code {
		r.t.Fatalf("the action ends with %d (%v), want %d\n%s", got, err, code, out)
	}
	if strings.Contains(string(out), "secret") {
		r.t.Errorf("the token is in the log:\n%s", out)
	}
	return string(out)
}

func (r *checkout) event(text string) string {
	r.t.Helper()
	f, err := os.CreateTemp(r.tmp, "event")
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		r.t.Fatal(err)
	}
	return f.Name()
}

func (r *checkout) read(name string) string {
	b, err := os.ReadFile(filepath.Join(r.tmp, name))
	if err != nil {
		r.t.Error(err)
	}
	return string(b)
}

func (r *checkout) summary() string { return r.read("summary") }
func (r *checkout) outputs() string { return r.read("output") }

// unmarked is what of a log the runner takes commands from: what stands outside ::stop-commands::MARK and ::MARK::.
func unmarked(log string) string {
	var b strings.Builder
	for log != "" {
		before, rest, ok := strings.Cut(log, "::stop-commands::")
		b.WriteString(before)
		if !ok {
			break
		}
		mark, rest, _ := strings.Cut(rest, "\n")
		_, log, _ = strings.Cut(rest, "\n::"+mark+"::")
	}
	return b.String()
}

// comments stands for GitHub's API of the comments of one pull request, as its documentation has it: pages with their links, and the
// answers to who may not.
type comments struct {
	*httptest.Server
	mu        sync.Mutex
	comments  []*remark
	next      int
	asked     int
	refuse    func(*http.Request) int // a status other than 0 is the answer
	elsewhere string                  // where a next page is said to be
}

type remark struct {
	ID   int    `json:"id"`
	Body string `json:"body"`
}

func github(t *testing.T) *comments {
	g := &comments{next: 1000}
	const list = "/repos/hone-ml/hone/issues/7/comments"
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+list, g.list)
	mux.HandleFunc("POST "+list, func(w http.ResponseWriter, r *http.Request) {
		if body, ok := g.body(w, r); ok {
			g.next++
			g.comments = append(g.comments, &remark{g.next, body})
			answer(w, http.StatusCreated, g.last())
		}
	})
	mux.HandleFunc("PATCH /repos/hone-ml/hone/issues/comments/{id}", func(w http.ResponseWriter, r *http.Request) {
		for _, c := range g.comments {
			if strconv.Itoa(c.ID) == r.PathValue("id") {
				if body, ok := g.body(w, r); ok {
					c.Body = body
					answer(w, http.StatusOK, c)
				}
				return
			}
		}
		refuse(w, http.StatusNotFound)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusNotFound) })
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.asked++
		if r.Header.Get("Authorization") != "Bearer secret" {
			refuse(w, http.StatusUnauthorized)
			return
		}
		if g.refuse != nil {
			if status := g.refuse(r); status != 0 {
				refuse(w, status)
				return
			}
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *comments) list(w http.ResponseWriter, r *http.Request) {
	number := func(name string, otherwise int) int {
		if n, err := strconv.Atoi(r.FormValue(name)); err == nil && n > 0 {
			return n
		}
		return otherwise
	}
	page, per := number("page", 1), min(number("per_page", 30), 100)
	pages := max(1, (len(g.comments)+per-1)/per)
	link := func(page int, rel string) string {
		at := g.URL
		if g.elsewhere != "" {
			at = g.elsewhere
		}
		return fmt.Sprintf(`<%s%s?per_page=%d&page=%d>; rel="%s"`, at, r.URL.Path, per, page, rel)
	}
	var links []string
	if page > 1 {
		links = append(links, link(page-1, "prev"))
	}
	if page < pages {
		links = append(links, link(page+1, "next"), link(pages, "last"))
	}
	if page > 1 {
		links = append(links, link(1, "first"))
	}
	if links != nil {
		w.Header().Set("Link", strings.Join(links, ", "))
	}
	from := min((page-1)*per, len(g.comments))
	answer(w, http.StatusOK, append([]*remark{}, g.comments[from:min(from+per, len(g.comments))]...))
}

func (g *comments) body(w http.ResponseWriter, r *http.Request) (string, bool) {
	var sent struct{ Body string }
	if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
		refuse(w, http.StatusBadRequest)
		return "", false
	}
	if n := utf8.RuneCountInString(sent.Body); n == 0 || n > 65_536 {
		refuse(w, http.StatusUnprocessableEntity)
		return "", false
	}
	return sent.Body, true
}

// talk is what others say.
func (g *comments) talk(n int) {
	for range n {
		g.next++
		g.comments = append(g.comments, &remark{g.next, "looks good"})
	}
}

func (g *comments) last() *remark { return g.comments[len(g.comments)-1] }

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, status int) {
	message := map[int]string{
		401: "Bad credentials", 403: "Resource not accessible by integration", 404: "Not Found", 422: "Validation Failed",
	}[status]
	answer(w, status, map[string]string{"message": message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status)})
}
