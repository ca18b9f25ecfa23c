// Package stagetest runs a stage in a test as a worker would, in the test's own process.
package stagetest

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// Result is what a stage did.
type Result struct {
	Code   int         // exit code
	Events []job.Event // lines of its standard output
	Job    *job.Job    // with the folders that it filled
}

// New returns a job of the kind whose config is the JSON config, with one out port for each of ports ("data": "dataset").
// The caller adds Inputs and Files. Folders are the test's temporary ones; Threads is 1.
func New(t testing.TB, kind, config string, ports map[string]string) *job.Job {
	t.Helper()
	dir := t.TempDir()
	j := &job.Job{
		Protocol: job.Protocol, Stage: "test", Kind: kind, Implementation: schemas.Implementation(kind),
		Config: json.RawMessage(config), Inputs: map[string]job.Input{}, Files: map[string]string{}, Out: map[string]job.Output{},
		Log: filepath.Join(dir, "log"), Checkpoints: filepath.Join(dir, "checkpoints"),
		Device: cmp.Or(os.Getenv("HONE_TEST_DEVICE"), "cpu"), Threads: 1, Date: "2024-01-01",
	}
	folders := []string{j.Log, j.Checkpoints}
	for port, kind := range ports {
		j.Out[port] = job.Output{Kind: kind, Path: filepath.Join(dir, "out", port)}
		folders = append(folders, j.Out[port].Path)
	}
	for _, folder := range folders {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return j
}

// Run does the job.
func Run(ctx context.Context, t testing.TB, j *job.Job, stage stages.Stage) Result {
	t.Helper()
	dir := Write(t, j)
	var out bytes.Buffer
	code := stages.Run(ctx, dir, stages.Registry{j.Kind: stage}, nil, &out)
	return Result{Code: code, Events: Events(t, out.Bytes()), Job: j}
}

// Write writes job.json to a job folder and returns the folder.
func Write(t testing.TB, j *job.Job) string {
	t.Helper()
	dir := filepath.Dir(j.Log)
	b, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "job.json"), b, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Events parses lines of a worker's standard output.
func Events(t testing.TB, b []byte) []job.Event {
	t.Helper()
	var events []job.Event
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e job.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("line %q: %v", lines.Text(), err)
		}
		events = append(events, e)
	}
	return events
}

// Last returns the last event, which is done or error unless the stage was interrupted.
func (r Result) Last() job.Event {
	if len(r.Events) == 0 {
		return job.Event{}
	}
	return r.Events[len(r.Events)-1]
}

// Out returns the folder of the port.
func (r Result) Out(port string) string { return r.Job.Out[port].Path }
