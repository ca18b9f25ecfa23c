package data

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
	"github.com/hone-ml/hone/stages/stagetest"
)

var update = flag.Bool("update", false, "rewrite what the tests in testdata expect")

// TestStages runs every testdata/*.txtar. A file holds config.json (with kind and ports), the user's files, and
// artifacts as in/FIELD.jsonl; it expects want/PORT.jsonl (the rows), want/summary.json, want/log, or want/error.
func TestStages(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatal("no tests", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) { runArchive(t, name) })
	}
}

func runArchive(t *testing.T, name string) {
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	j := prepare(t, archive)
	result := stagetest.Run(t.Context(), t, j, Stages(nil)[j.Kind])
	got := outcome(t, result)
	var kept []txtar.File
	want := map[string]string{}
	for _, f := range archive.Files {
		if strings.HasPrefix(f.Name, "want/") {
			want[f.Name] = string(f.Data)
		} else {
			kept = append(kept, f)
		}
	}
	if *update {
		for _, name := range sorted(got) {
			kept = append(kept, txtar.File{Name: name, Data: []byte(got[name])})
		}
		archive.Files = kept
		if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// prepare writes the archive's files and makes the job of its config.json.
func prepare(t *testing.T, archive *txtar.Archive) *job.Job {
	t.Helper()
	dir := t.TempDir()
	var config map[string]any
	inputs := map[string]job.Input{}
	for _, f := range archive.Files {
		if f.Name == "config.json" {
			if err := json.Unmarshal(f.Data, &config); err != nil {
				t.Fatal(err)
			}
		}
		if strings.HasPrefix(f.Name, "want/") {
			continue
		}
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if bytes.HasPrefix(f.Data, []byte("#!")) {
			mode = 0o755
		}
		if err := os.WriteFile(path, unescape(f.Data), mode); err != nil {
			t.Fatal(err)
		}
		if field, ok := strings.CutPrefix(f.Name, "in/"); ok {
			field = strings.TrimSuffix(field, ".jsonl")
			inputs[field] = job.Input{Kind: "dataset", Path: artifact(t, path)}
		}
	}
	ports := map[string]string{}
	for port, kind := range config["ports"].(map[string]any) {
		ports[port] = kind.(string)
	}
	kind := config["kind"].(string)
	delete(config, "ports")
	b, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	j := stagetest.New(t, kind, string(b), ports)
	j.Inputs = inputs
	if source, ok := config["source"].(string); ok {
		j.Files["source"] = filepath.Join(dir, source)
	}
	if files, ok := config["files"].([]any); ok {
		for i, f := range files {
			j.Files[fmt.Sprintf("files[%d]", i)] = filepath.Join(dir, f.(string))
		}
	}
	return j
}

// unescape lets an archive hold bytes that text cannot: \xff and \x00 stand for themselves.
func unescape(b []byte) []byte {
	b = bytes.ReplaceAll(b, []byte(`\xff`), []byte{0xff})
	return bytes.ReplaceAll(b, []byte(`\x00`), []byte{0})
}

// artifact makes a dataset of a JSONL file.
func artifact(t *testing.T, file string) string {
	t.Helper()
	s := &dataset.Source{Path: file, Name: filepath.Base(file)}
	columns, err := s.Columns()
	if err != nil {
		t.Fatal(err)
	}
	format, roles, err := dataset.Detect(columns, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	w, err := dataset.Create(dir, format, roles, columns...)
	if err != nil {
		t.Fatal(err)
	}
	for r, err := range s.Rows() {
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(r.Row); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// outcome is what a stage left, as files of want/.
func outcome(t *testing.T, r stagetest.Result) map[string]string {
	t.Helper()
	got := map[string]string{}
	last := r.Last()
	if last.Event == "error" {
		text := last.Message
		if last.Path != "" {
			text = last.Path + ": " + text
		}
		got["want/error"] = fmt.Sprintf("exit %d\n%s\n", last.Code, text)
		return got
	}
	b, err := json.MarshalIndent(last.Values, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if len(last.Values) > 0 {
		got["want/summary.json"] = string(b) + "\n"
	}
	for _, e := range r.Events {
		if e.Event == "log" {
			got["want/log"] += e.Level + ": " + e.Message + "\n"
		}
	}
	for port, out := range r.Job.Out {
		if out.Kind == "dataset" {
			got["want/"+port+".jsonl"] = rows(t, out.Path)
			continue
		}
		err := filepath.WalkDir(out.Path, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			rel, _ := filepath.Rel(out.Path, path)
			got["want/"+port+"/"+rel] = string(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return got
}

// rows is a dataset's header and rows as lines.
func rows(t *testing.T, dir string) string {
	t.Helper()
	d, err := dataset.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	header, err := json.Marshal(d.Header)
	if err != nil {
		t.Fatal(err)
	}
	text := string(header) + "\n"
	for row, err := range d.All() {
		if err != nil {
			t.Fatal(err)
		}
		text += string(ordjson.Append(nil, row)) + "\n"
	}
	return text
}

// TestBytes guards keys: the bytes that a kind makes may change only with its implementation version, else what an
// older hone made is taken for what this one would make. -update takes new bytes only after the version was raised.
func TestBytes(t *testing.T) {
	type golden struct {
		Implementation int
		Bytes          string // SHA-256 of the out folders
	}
	const file = "testdata/bytes.json"
	known := map[string]golden{}
	if b, err := os.ReadFile(file); err == nil {
		if err := json.Unmarshal(b, &known); err != nil {
			t.Fatal(err)
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for kind, name := range map[string]string{
		"data.load": "load-columns", "curate.filter": "filter-steps", "curate.split": "split", "curate.mix": "mix", "exec": "exec-rows",
	} {
		archive, err := txtar.ParseFile("testdata/" + name + ".txtar")
		if err != nil {
			t.Fatal(err)
		}
		sum := func() string {
			j := prepare(t, archive)
			r := stagetest.Run(t.Context(), t, j, Stages(nil)[kind])
			if r.Code != 0 {
				t.Fatalf("%s: %+v", kind, r.Last())
			}
			return sumOut(t, j)
		}
		got := golden{schemas.Implementation(kind), sum()}
		if again := sum(); again != got.Bytes {
			t.Errorf("%s: two runs made different bytes", kind)
		}
		switch was, ok := known[kind]; {
		case was == got:
		case *update && (!ok || was.Implementation != got.Implementation):
			known[kind] = got
		case was.Implementation == got.Implementation:
			t.Errorf("%s makes other bytes than version %d did: raise its version in schemas/kinds.go, then run with -update", kind, was.Implementation)
		default:
			t.Errorf("%s has a new version: run with -update", kind)
		}
	}
	if *update {
		b, err := json.MarshalIndent(known, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func sumOut(t *testing.T, j *job.Job) string {
	t.Helper()
	h := sha256.New()
	for _, port := range sorted(j.Out) {
		err := filepath.WalkDir(j.Out[port].Path, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			rel, _ := filepath.Rel(j.Out[port].Path, path)
			fmt.Fprintf(h, "%s/%s %d\n", port, rel, len(b))
			h.Write(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// A cancelled program and what it started are ended, and the stage says that it was interrupted.
func TestExecCancelled(t *testing.T) {
	j := stagetest.New(t, "exec", `{"command": ["sh", "-c", "sleep 60 & echo $! > out/pid/pid; wait"], "out": {"pid": {"kind": "files"}}}`, map[string]string{"pid": "files"})
	pidFile := filepath.Join(filepath.Dir(j.Log), "work", "out", "pid", "pid")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pid := 0
	go func() {
		for range 500 {
			if b, err := os.ReadFile(pidFile); err == nil && bytes.HasSuffix(b, []byte("\n")) {
				fmt.Sscan(string(b), &pid)
				cancel()
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
	}()
	r := stagetest.Run(ctx, t, j, execute)
	if r.Code != 130 {
		t.Errorf("exit code %d, want 130", r.Code)
	}
	if pid == 0 {
		t.Fatal("the program did not start")
	}
	for range 200 { // until init has collected it
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || isZombie(pid) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the program's child is still there")
}

func isZombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && bytes.Contains(b, []byte(") Z "))
}

// A process that detaches itself from its program cannot go on writing to what is an artifact by then.
func TestExecDetached(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems do not say whose child an orphan was")
	}
	j := stagetest.New(t, "exec", `{"command": ["sh", "-c", "echo one > out/o/file; setsid sh -c 'echo $$ > pid; exec sleep 60' >> out/o/file 2>&1 & while ! test -s pid; do sleep 0.01; done"],
		"out": {"o": {"kind": "files"}}}`, map[string]string{"o": "files"})
	if r := stagetest.Run(t.Context(), t, j, execute); r.Code != 0 {
		t.Fatalf("exit code %d: %v", r.Code, r)
	}
	b, err := os.ReadFile(filepath.Join(filepath.Dir(j.Log), "work", "pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid := 0
	if _, err := fmt.Sscan(string(b), &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is still there", pid)
	}
}

// The counter of a program with tokenizers is asked once a row, and its bounds hold.
func TestFilterCountsTokens(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(file, []byte(`{"text": "one two three"}`+"\n"+`{"text": "one"}`+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	j := stagetest.New(t, "curate.filter", `{"data": {"kind": "dataset", "from": "a", "port": "data"}, "model": {"kind": "model", "from": "m", "port": "model"}, "steps": [{"length": {"tokens": {"min": 2}}}]}`,
		map[string]string{"data": "dataset", "dropped": "dataset"})
	j.Inputs["data"] = job.Input{Kind: "dataset", Path: artifact(t, file)}
	j.Inputs["model"] = job.Input{Kind: "model", Path: t.TempDir()}
	r := stagetest.Run(t.Context(), t, j, Filter(func(*stages.Job, *dataset.Header) (Counter, error) { return wordCounter{}, nil }))
	if got, want := rows(t, r.Out("dropped")), `{"text":"one","dropped_by":"steps[0].length.tokens"}`; !strings.Contains(got, want) || r.Code != 0 {
		t.Errorf("%+v\n%s", r.Last(), got)
	}
}

type wordCounter struct{}

func (wordCounter) Count(row dataset.Row) (int64, error) {
	s, _ := row.Text("text")
	return int64(len(strings.Fields(s))), nil
}

func TestApportion(t *testing.T) {
	for _, test := range []struct {
		total   int64
		weights []float64
		want    []int64
	}{
		{10, []float64{0.8, 0.1, 0.1}, []int64{8, 1, 1}},
		{10, []float64{1, 1, 1}, []int64{4, 3, 3}},
		{3, []float64{0.9, 0.1}, []int64{3, 0}},
		{1000000007, []float64{0.1, 0.2, 0.7}, []int64{100000001, 200000001, 700000005}},
		{0, []float64{1}, []int64{0}},
	} {
		if d := cmp.Diff(test.want, apportion(test.total, test.weights)); d != "" {
			t.Errorf("%d by %v: %s", test.total, test.weights, d)
		}
	}
}

// The order is part of every key's bytes: it must not change with a library.
func TestShuffled(t *testing.T) {
	if d := cmp.Diff([]int64{3, 5, 8, 6, 0, 2, 4, 9, 7, 1}, shuffled(10, 42)); d != "" {
		t.Error(d)
	}
	seen := map[int64]bool{}
	for _, i := range shuffled(1000, 7) {
		seen[i] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d of 1000 numbers", len(seen))
	}
}
