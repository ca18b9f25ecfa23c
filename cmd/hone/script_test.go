package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	cuecmd "cuelang.org/go/cmd/cue/cmd"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

var update = flag.Bool("update", false, "rewrite what the scripts expect")

// Scripts run hone as a program of its own. hone-worker is one that needs no libtorch: it scores a model by the number
// that its config.json has as "score", which is enough to try gates and baselines, or finds its row "bad" no number, and it answers with what it was asked.
// A script that needs the real one asks for it by REAL_WORKER.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == pipelines.Serving { // for a test that calls hone in this process
		main()
	}
	testscript.Main(m, map[string]func(){
		"hone":        main,
		"cue":         func() { os.Exit(cuecmd.Main()) }, // of the same module as the library
		"hone-worker": worker,
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           filepath.Join("testdata", "script"),
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HONE_STORE", filepath.Join(env.WorkDir, ".store"))
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("HONE_WORKER", "")
			env.Setenv("FOUND_WORKER", os.Getenv("HONE_WORKER"))
			internal, err := filepath.Abs("../../internal")
			env.Setenv("TOY", filepath.Join(internal, "train/testdata/toy"))
			env.Setenv("EXAMPLES", filepath.Join(internal, "../examples"))
			env.Setenv("SMOLLM2", os.Getenv("HONE_SMOLLM2"))
			env.Setenv("GGUF", filepath.Join(internal, "gguf/testdata/models/llama.gguf"))
			return err
		},
		Condition: conditions,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exit": exitWith, "waitfor": waitFor, "damage": damage, "edit": edit, "tmpfs": tmpfs, "readonly": readOnly, "within": within, "example": example, "keys": keys,
		},
	})
}

func scoreByConfig(_ context.Context, j *stages.Job) error {
	var c schemas.Eval
	if err := j.Decode(&c); err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(j.In("model").Path, "config.json"))
	if err != nil {
		return err
	}
	var model struct {
		Score    float64
		Bad      int64
		Scores   []float64 // of rows, of which Score is then the mean
		Language float64   // perplexity of the first row; the second's is twice that
	}
	if err := json.Unmarshal(b, &model); err != nil {
		return err
	}
	for name := range c.Suites {
		if field := "suites." + name + ".data"; model.Bad > 0 {
			return stages.Errorf(field, "%s: the answer is no number", j.Row(field, model.Bad))
		}
	}
	report := map[string]any{}
	suites := map[string]any{}
	for name := range c.Suites {
		suites[name] = map[string]any{"metric": "score", "value": model.Score, "rows": 2, "tokens": 20}
		if n := len(model.Scores); n > 0 {
			sum := 0.0
			for _, score := range model.Scores {
				sum += score
			}
			suites[name] = map[string]any{"metric": "score", "value": sum / float64(n), "rows": n, "tokens": 10 * n}
		}
		if c.Suites[name].Perplexity != nil {
			suites[name] = map[string]any{"metric": "perplexity", "value": model.Language * math.Sqrt2, "rows": 2, "tokens": 20}
		}
	}
	report["suites"] = suites
	if c.Baseline != nil {
		b, err := os.ReadFile(filepath.Join(j.In("baseline").Path, "report.json"))
		if err != nil {
			return err
		}
		var before struct{ Suites any }
		if err := json.Unmarshal(b, &before); err != nil {
			return err
		}
		report["baseline"] = before.Suites
	}
	if b, err = json.Marshal(report); err != nil {
		return err
	}
	samples := filepath.Join(j.Out("report"), "samples")
	if err := os.Mkdir(samples, 0o755); err != nil {
		return err
	}
	for name := range c.Suites {
		line := `{"prompt": "What is 1 + 1?", "completion": "2", "answer": "2", "score": 1}` + "\n"
		if model.Scores != nil {
			line = ""
		}
		for _, score := range model.Scores {
			line += fmt.Sprintf("{\"prompt\": \"What is 1 + 1?\", \"completion\": \"2\", \"score\": %g}\n", score)
		}
		if c.Suites[name].Perplexity != nil {
			line = fmt.Sprintf("{\"row\": 1, \"tokens\": 10, \"perplexity\": %g}\n{\"row\": 2, \"tokens\": 10, \"perplexity\": %g}\n", model.Language, 2*model.Language)
		}
		if err := os.WriteFile(filepath.Join(samples, name+".jsonl"), []byte(line), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(j.Out("report"), "report.json"), b, 0o644)
}

// exit CODE PROGRAM ARG…: run it and want that exit code.
func exitWith(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exit CODE PROGRAM ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// within DURATION PROGRAM ARG…: run it and want it to end in time, the best of three.
func within(ts *testscript.TestScript, _ bool, args []string) {
	limit, err := time.ParseDuration(args[0])
	ts.Check(err)
	var took time.Duration
	for range 3 {
		began := time.Now()
		ts.Check(ts.Exec(args[1], args[2:]...))
		if took = time.Since(began); took < limit {
			return
		}
	}
	ts.Fatalf("took %v, more than %v", took, limit)
}

// turn is held by the example that runs: two at once would take each other's time.
var turn sync.Mutex

// example DIR ARG…: run it and want it to end well, in fifteen minutes at most.
func example(ts *testscript.TestScript, _ bool, args []string) {
	turn.Lock()
	defer turn.Unlock()
	began := time.Now()
	ts.Check(ts.Exec("hone", append([]string{"run"}, args...)...))
	if took := time.Since(began); took > 15*time.Minute {
		ts.Fatalf("%s took %v, more than fifteen minutes", args[0], took)
	}
}

// waitfor FILE: wait until it is there.
func waitFor(ts *testscript.TestScript, _ bool, args []string) {
	for range 400 {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	ts.Fatalf("%s is not there after 10 s", args[0])
}

// damage FILE: change its bytes, size and time kept. The name of the file may come from the last standard output.
func damage(ts *testscript.TestScript, _ bool, args []string) {
	path := filepath.Join(append([]string{strings.TrimSpace(ts.ReadFile("stdout"))}, args...)...)
	info, err := os.Stat(path)
	ts.Check(err)
	b, err := os.ReadFile(path)
	ts.Check(err)
	for i := range b {
		b[i] ^= 1
	}
	ts.Check(os.Chmod(path, 0o644))
	ts.Check(os.WriteFile(path, b, 0o644))
	ts.Check(os.Chmod(path, info.Mode()))
	ts.Check(os.Chtimes(path, info.ModTime(), info.ModTime()))
}

// edit FILE OLD NEW: replace text that must be there.
func edit(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: edit FILE OLD NEW")
	}
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(text, args[1], args[2])), 0o644))
}

// keys DIR PASSWORD: DIR/cosign.key and DIR/cosign.pub as cosign generate-key-pair writes them.
func keys(ts *testscript.TestScript, _ bool, args []string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	box, err := encrypted.EncryptWithCustomKDFParameters(der, []byte(args[1]), encrypted.Legacy)
	ts.Check(err)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	ts.Check(err)
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(os.WriteFile(filepath.Join(dir, "cosign.key"), pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: box}), 0o600))
	ts.Check(os.WriteFile(filepath.Join(dir, "cosign.pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o644))
}

// tmpfs DIR BYTES: a small file system at DIR.
func tmpfs(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(mountTmpfs(dir, args[1]))
	ts.Defer(func() { unmount(dir) })
}

// readonly DIR: the file system that tmpfs mounted there is written to no more.
func readOnly(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(remountReadOnly(ts.MkAbs(args[0])))
}

// conditions knows [tmpfs]: this user may mount one; [worker]: HONE_WORKER names the real one; [bash-completion]: it is installed.
func conditions(name string) (bool, error) {
	if name == "worker" {
		_, err := exec.LookPath(os.Getenv("HONE_WORKER"))
		return err == nil, nil
	}
	if name == "bash-completion" {
		_, err := os.Stat("/usr/share/bash-completion/bash_completion")
		return err == nil, nil
	}
	if name == "long" {
		return os.Getenv("HONE_LONG") != "" && os.Getenv("HONE_SMOLLM2") != "", nil
	}
	if name != "tmpfs" {
		return false, fmt.Errorf("unknown condition %q", name)
	}
	dir, err := os.MkdirTemp("", "hone-tmpfs-")
	if err != nil {
		return false, err
	}
	defer os.Remove(dir)
	if mountTmpfs(dir, "65536") != nil {
		return false, nil
	}
	unmount(dir)
	return true, nil
}
