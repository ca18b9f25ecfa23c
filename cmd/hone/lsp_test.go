package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/schemas"
)

// edited is a pipeline in an editor. The language server of this cue applies no pattern, and stages of a pipeline are one: a stage that
// names its definition is known to it.
const edited = `package edited

import "github.com/hone-ml/hone/schemas"

schemas.#Pipeline

name: "edited"
stages: {
	base: schemas.#ModelLoad & {kind: "model.load", source: "models/base"}
	rows: schemas.#DataLoad & {kind: "data.load", source: "rows.jsonl"}
	tune: schemas.#TrainSFT & {
		kind:   "train.sft"
		model:  stages.base.out.model
		data:   stages.rows.out.data
		epochs: 2
		lora: rank: 8
	}
	score: schemas.#Eval & {
		kind:  "eval"
		model: stages.tune.out.model
		suites: sql: schemas.#Suite & {data: stages.rows.out.data, exact: {}}
	}
}
`

// The language server of the cue module that hone is built with finds in the vendored schemas what an editor asks for.
func TestLanguageServer(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	vendored, err := pipelines.Vendor(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"edited.cue": edited, "rows.jsonl": "{\"text\": \"a\"}\n", "models/base/config.json": "{}"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var out, errs strings.Builder
	if code := hone([]string{"vet", dir}, &out, &errs); code != 0 {
		t.Fatalf("hone vet: exit %d\n%s", code, &errs)
	}
	for _, kind := range schemas.Kinds() { // each kind has a definition of that name, as docs/editors.md says
		if !strings.Contains(definitions(t, vendored), "\n#"+definitionOf(kind)+": ") {
			t.Errorf("%s: no definition #%s", kind, definitionOf(kind))
		}
	}
	e := openEditor(t, dir, "edited.cue", edited)

	// What may stand at the sign ‸ once old is new.
	for _, c := range []struct {
		old, new string
		all      []string
		none     []string
	}{
		{"\t\tepochs: 2\n", "\t\t‸\n", []string{"learningRate", "loss", "packing", "lora", "batch", "description", "resources"}, []string{"suites", "beta", "source"}},
		{"\t\tepochs: 2\n", "\t\tl‸\n", []string{"learningRate", "loss", "lora"}, []string{"suites"}},
		{"lora: rank: 8", "lora: {‸}", []string{"rank", "alpha", "dropout", "targets", "init"}, []string{"learningRate"}},
		{"epochs: 2", "schedule: {k‸}", []string{"kind", "warmup", "minimum", "decay"}, []string{"epochs"}},
		{"exact: {}", "‸", []string{"exact", "regex", "sql", "perplexity", "maxNewTokens"}, []string{"learningRate"}},
		{"model: stages.tune.out.model", "model: stages.tune.out.‸", []string{"model"}, []string{"data"}},
		{"model: stages.tune.out.model", "model: stages.‸", []string{"base", "rows", "tune", "score"}, []string{"learningRate"}},
	} {
		at := e.edit(c.old, c.new)
		var found struct{ Items []struct{ Label string } }
		e.ask("textDocument/completion", at, &found)
		var labels []string
		for _, item := range found.Items {
			labels = append(labels, item.Label)
		}
		for _, want := range c.all {
			if !slices.Contains(labels, want) {
				t.Errorf("completion of %q lacks %s: %q", c.new, want, labels)
			}
		}
		for _, not := range c.none {
			if slices.Contains(labels, not) {
				t.Errorf("completion of %q has %s", c.new, not)
			}
		}
	}

	// What a field means, and where it is defined.
	for _, c := range []struct{ at, means, file, line string }{
		{"e‸pochs: 2", "epochs are passes over the data", "training.cue", "epochs?: number"},
		{"r‸ank: 8", "rank of the two factors", "training.cue", "rank?: int"},
		{"schemas.#‸TrainSFT &", "#TrainSFT is supervised fine-tuning", "train_sft.cue", "#TrainSFT: "},
		{"s‸ource: \"rows.jsonl", "source is a file, or a folder", "data_load.cue", "source!: #Path"},
		{"e‸xact: {}", "exact is 1 where the stripped completion", "grader.cue", "exact?: #Compare"},
		{"#‸Pipeline\n", "#Pipeline is what a pipeline's package embeds", "pipeline.cue", "#Pipeline: {"},
	} {
		at := e.edit(strings.Replace(c.at, "‸", "", 1), c.at)
		var said struct{ Contents struct{ Value string } }
		e.ask("textDocument/hover", at, &said)
		if !strings.Contains(said.Contents.Value, c.means) {
			t.Errorf("at %q the editor is told %q", c.at, said.Contents.Value)
		}
		var places []struct {
			URI   string
			Range struct{ Start struct{ Line int } }
		}
		e.ask("textDocument/definition", at, &places)
		found := false
		for _, p := range places {
			if p.URI != uri(filepath.Join(vendored, c.file)) {
				continue
			}
			text, err := os.ReadFile(filepath.Join(vendored, c.file))
			if err != nil {
				t.Fatal(err)
			}
			found = found || strings.Contains(strings.Split(string(text), "\n")[p.Range.Start.Line], c.line)
		}
		if !found {
			t.Errorf("at %q no definition is %s: %+v", c.at, c.line, places)
		}
	}

	// A stage gets another name wherever it is read.
	at := e.edit("rows: schemas", "r‸ows: schemas")
	at["newName"] = "lines"
	var renamed json.RawMessage
	e.ask("textDocument/rename", at, &renamed)
	if n := strings.Count(string(renamed), `"newText":"lines"`); n != 3 {
		t.Errorf("%d places get another name: %s", n, renamed)
	}

	// The file is as cue fmt would write it, and the server writes it so.
	var changes []struct{ NewText string }
	e.edit("epochs: 2", "epochs:    2‸")
	e.ask("textDocument/formatting", nil, &changes)
	if len(changes) == 0 {
		t.Error("nothing to format")
	}
	e.edit("epochs: 2", "epochs: 2‸")
	if e.ask("textDocument/formatting", nil, &changes); len(changes) > 0 {
		t.Errorf("formatted anew: %+v", changes)
	}
}

// definitionOf is a kind in capitals, without dots.
func definitionOf(kind string) string {
	var name strings.Builder
	for _, part := range strings.Split(kind, ".") {
		if slices.Contains([]string{"sft", "dpo", "grpo"}, part) {
			part = strings.ToUpper(part)
		}
		name.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return name.String()
}

func definitions(t *testing.T, vendored string) string {
	t.Helper()
	var all strings.Builder
	for _, file := range glob(t, vendored+"/*.cue") {
		all.WriteString(textOf(t, file))
	}
	return all.String()
}

// editor speaks the language server protocol with cue lsp, a request at a time.
type editor struct {
	t       *testing.T
	in      io.Writer
	out     *bufio.Reader
	uri     string
	text    string
	version int
	id      int
}

func uri(path string) string { return "file://" + filepath.ToSlash(path) }

func openEditor(t *testing.T, dir, name, text string) *editor {
	t.Helper()
	server := exec.Command("cue", "lsp", "serve")
	server.Dir = dir
	server.Stderr = t.Output()
	in, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(time.Minute, func() { server.Process.Kill() })
	e := &editor{t: t, in: in, out: bufio.NewReader(out), uri: uri(filepath.Join(dir, name)), text: text}
	t.Cleanup(func() {
		e.request("shutdown", nil, nil)
		e.send(map[string]any{"method": "exit"})
		in.Close()
		server.Wait()
		limit.Stop()
	})
	e.request("initialize", map[string]any{
		"processId": nil, "rootUri": uri(dir), "capabilities": map[string]any{},
		"workspaceFolders": []any{map[string]any{"uri": uri(dir), "name": "edited"}},
	}, nil)
	e.send(map[string]any{"method": "initialized", "params": map[string]any{}})
	e.send(map[string]any{"method": "textDocument/didOpen", "params": map[string]any{
		"textDocument": map[string]any{"uri": e.uri, "languageId": "cue", "version": 0, "text": text},
	}})
	return e
}

// edit shows the server the text with new, less its sign ‸, in place of old, and gives the sign's position.
func (e *editor) edit(old, new string) map[string]any {
	e.t.Helper()
	begin, rest, ok := strings.Cut(e.text, old)
	if !ok {
		e.t.Fatalf("the text has no %q", old)
	}
	left, right, _ := strings.Cut(new, "‸")
	e.version++
	e.send(map[string]any{"method": "textDocument/didChange", "params": map[string]any{
		"textDocument":   map[string]any{"uri": e.uri, "version": e.version},
		"contentChanges": []any{map[string]any{"text": begin + left + right + rest}},
	}})
	lines := strings.Split(begin+left, "\n")
	return map[string]any{"line": len(lines) - 1, "character": len(lines[len(lines)-1])} // ASCII before the sign
}

// ask is about the open text; at is a position, and what else the method wants to know.
func (e *editor) ask(method string, at map[string]any, result any) {
	e.t.Helper()
	params := map[string]any{"textDocument": map[string]any{"uri": e.uri}, "options": map[string]any{}, "position": at}
	if at["newName"] != nil {
		params["newName"] = at["newName"]
	}
	e.request(method, params, result)
}

// request waits for the answer, and answers what the server asks meanwhile.
func (e *editor) request(method string, params, result any) {
	e.t.Helper()
	e.id++
	e.send(map[string]any{"id": e.id, "method": method, "params": params})
	for {
		var m struct {
			ID     any
			Method string
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		e.receive(&m)
		switch {
		case m.Method != "" && m.ID != nil:
			e.send(map[string]any{"id": m.ID, "result": nil})
		case m.Method != "":
		case fmt.Sprint(m.ID) != strconv.Itoa(e.id):
			e.t.Fatalf("%s: the answer to %v", method, m.ID)
		case m.Error != nil:
			e.t.Fatalf("%s: %s", method, m.Error.Message)
		default:
			if result != nil {
				if err := json.Unmarshal(m.Result, result); err != nil {
					e.t.Fatalf("%s: %v in %s", method, err, m.Result)
				}
			}
			return
		}
	}
}

func (e *editor) send(message map[string]any) {
	message["jsonrpc"] = "2.0"
	b, err := json.Marshal(message)
	if err != nil {
		e.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(e.in, "Content-Length: %d\r\n\r\n%s", len(b), b); err != nil {
		e.t.Fatal(err)
	}
}

func (e *editor) receive(message any) {
	e.t.Helper()
	head, err := textproto.NewReader(e.out).ReadMIMEHeader()
	if err != nil {
		e.t.Fatalf("the language server: %v", err)
	}
	size, err := strconv.Atoi(head.Get("Content-Length"))
	if err != nil {
		e.t.Fatal(err)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(e.out, b); err != nil {
		e.t.Fatal(err)
	}
	if err := json.Unmarshal(b, message); err != nil {
		e.t.Fatal(err)
	}
}
