package stages_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
	"github.com/hone-ml/hone/stages/stagetest"
)

const kind = "data.load"

// TestMain lets the test binary be a worker: HONE_TEST_JOB names its job folder.
func TestMain(m *testing.M) {
	if dir := os.Getenv("HONE_TEST_JOB"); dir != "" {
		os.Exit(stages.Main(dir, stages.Registry{kind: untilCancelled}, nil))
	}
	os.Exit(m.Run())
}

// untilCancelled prints to standard output, as a careless library would, and works until it is cancelled.
func untilCancelled(ctx context.Context, j *stages.Job) error {
	fmt.Println("a print of a library")
	j.Progress(1, 0, "steps")
	<-ctx.Done()
	for range 100 { // events to a runner that has gone
		j.Log("saving")
	}
	if err := os.WriteFile(filepath.Join(j.Checkpoints, "state"), []byte("saved"), 0o644); err != nil {
		return err
	}
	j.Checkpoint(1, "steps")
	return ctx.Err()
}

func startWorker(t *testing.T) (cmd *exec.Cmd, j *job.Job, stdin io.WriteCloser, stdout io.ReadCloser) {
	t.Helper()
	j = stagetest.New(t, kind, `{}`, nil)
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "HONE_TEST_JOB="+stagetest.Write(t, j))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err = cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return cmd, j, stdin, stdout
}

// A worker that is told to stop, or whose runner has gone, saves its checkpoint and exits with 130, and its standard
// output has nothing but events, whatever a library prints.
func TestInterruption(t *testing.T) {
	for name, interrupt := range map[string]func(*exec.Cmd, io.Closer, io.Closer){
		"SIGTERM": func(c *exec.Cmd, _, _ io.Closer) { c.Process.Signal(syscall.SIGTERM) },
		"SIGINT":  func(c *exec.Cmd, _, _ io.Closer) { c.Process.Signal(syscall.SIGINT) },
		"the runner has gone": func(_ *exec.Cmd, stdin, stdout io.Closer) {
			stdout.Close()
			stdin.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd, j, stdin, stdout := startWorker(t)
			lines := bufio.NewReader(stdout)
			for _, want := range []string{`"event":"start"`, `"event":"progress"`} {
				line, err := lines.ReadString('\n')
				if err != nil || !strings.Contains(line, want) {
					t.Fatalf("line %q, error %v, want %s", line, err, want)
				}
			}
			interrupt(cmd, stdin, stdout)
			io.Copy(io.Discard, lines)
			err := cmd.Wait()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 130 {
				t.Errorf("worker ended with %v, want exit code 130", err)
			}
			if b, err := os.ReadFile(filepath.Join(j.Checkpoints, "state")); string(b) != "saved" {
				t.Errorf("checkpoint %q, %v", b, err)
			}
		})
	}
}

func TestErrorsBecomeEvents(t *testing.T) {
	wrapped := fmt.Errorf("write rows: %w", &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC})
	for _, test := range []struct {
		name  string
		stage stages.Stage
		want  job.Event
	}{
		{"plain", func(context.Context, *stages.Job) error { return errors.New("it went wrong") },
			job.Event{Event: "error", Message: "it went wrong", Code: 1}},
		{"with a path", func(context.Context, *stages.Job) error { return stages.Errorf("rows.jsonl:3", "no %s", "turn") },
			job.Event{Event: "error", Path: "rows.jsonl:3", Message: "no turn", Code: 1}},
		{"environment", func(context.Context, *stages.Job) error { return stages.Environment(errors.New("no sqlite3")) },
			job.Event{Event: "error", Message: "no sqlite3", Code: 6}},
		{"disk full", func(context.Context, *stages.Job) error { return wrapped },
			job.Event{Event: "error", Message: "write rows: write x: no space left on device", Code: 6}},
		{"disk full with a path", func(context.Context, *stages.Job) error { return stages.Errorf("out", "%w", wrapped) },
			job.Event{Event: "error", Path: "out", Message: wrapped.Error(), Code: 6}},
		{"panic", func(context.Context, *stages.Job) error { panic("shape [2 3] is not [3 2]") },
			job.Event{Event: "error", Message: "panic: shape [2 3] is not [3 2] (stack in log/panic.txt)", Code: 1}},
		{"empty port", func(context.Context, *stages.Job) error { return nil },
			job.Event{Event: "error", Path: "out/data", Message: "nothing was written", Code: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			j := stagetest.New(t, kind, `{}`, map[string]string{"data": "dataset"})
			r := stagetest.Run(t.Context(), t, j, test.stage)
			if d := cmp.Diff(test.want, r.Last()); d != "" {
				t.Error(d)
			}
			if r.Code != test.want.Code {
				t.Errorf("exit code %d, want %d", r.Code, test.want.Code)
			}
		})
	}
}

func TestRefusesAJobOfAnotherVersion(t *testing.T) {
	never := func(context.Context, *stages.Job) error { t.Error("the stage ran"); return nil }
	for want, change := range map[string]func(*job.Job){
		"job protocol 99":                 func(j *job.Job) { j.Protocol = 99 },
		"the plan wants version 99":       func(j *job.Job) { j.Implementation = 99 },
		"no stage of kind train.sft":      func(j *job.Job) { j.Kind = "train.sft" },
		"job.json: threads: 0 is below 1": func(j *job.Job) { j.Threads = 0 },
	} {
		j := stagetest.New(t, kind, `{}`, nil)
		change(j)
		var out bytes.Buffer
		code := stages.Run(t.Context(), stagetest.Write(t, j), stages.Registry{kind: never}, nil, &out)
		last := stagetest.Events(t, out.Bytes())[0]
		if code != 6 || last.Event != "error" || !strings.Contains(last.Message, want) {
			t.Errorf("code %d, event %+v, want 6 and %q", code, last, want)
		}
	}
}

func TestDecodeIsStrict(t *testing.T) {
	decode := func(_ context.Context, j *stages.Job) error {
		var c schemas.DataLoad
		return j.Decode(&c)
	}
	j := stagetest.New(t, kind, `{"kind":"data.load","description":"rows","source":"x"}`, nil)
	if r := stagetest.Run(t.Context(), t, j, decode); r.Code != 0 {
		t.Errorf("common fields: %+v", r.Last())
	}
	j = stagetest.New(t, kind, `{"source":"x","sorce":"y"}`, nil)
	if r := stagetest.Run(t.Context(), t, j, decode); !strings.Contains(r.Last().Message, "sorce") {
		t.Errorf("a misspelt field: %+v", r.Last())
	}
}

func TestMetrics(t *testing.T) {
	j := stagetest.New(t, kind, `{}`, nil)
	first := func(_ context.Context, j *stages.Job) error {
		for step := range int64(3) {
			if err := j.Metric(step+1, map[string]float64{"loss": 2, "zeta": 1, "tokens": 1234567, "epoch": 0.5, "grad_norm": math.NaN(), "time": 1700000000.25}); err != nil {
				return err
			}
		}
		j.Summary("loss", 2)
		j.Summary("bad", math.Inf(1))
		return nil
	}
	r := stagetest.Run(t.Context(), t, j, first)
	if d := cmp.Diff(job.Event{Event: "done", Values: map[string]float64{"loss": 2}}, r.Last()); d != "" {
		t.Error(d)
	}
	file := filepath.Join(j.Log, "metrics.jsonl")
	line := `{"step":%d,"epoch":0.5,"loss":2,"grad_norm":null,"tokens":1234567,"time":1700000000.250000,"zeta":1}` + "\n"
	wantLines(t, file, fmt.Sprintf(line+line+line, 1, 2, 3))

	// A kill left half a line; the second process goes on from step 2 and says so.
	appendText(t, file, `{"step":4,"lo`)
	second := func(_ context.Context, j *stages.Job) error {
		if err := j.Resumed(2); err != nil {
			return err
		}
		return j.Metric(3, map[string]float64{"loss": 1.5, "time": 1700000001})
	}
	if r := stagetest.Run(t.Context(), t, j, second); r.Code != 0 {
		t.Fatal(r.Last())
	}
	wantLines(t, file, fmt.Sprintf(line+line, 1, 2)+`{"step":3,"loss":1.5,"time":1700000001.000000}`+"\n")
	if events, _ := filepath.Glob(filepath.Join(j.Log, "events.out.tfevents.*")); len(events) != 2 {
		t.Errorf("TensorBoard files %v, want one a process", events)
	}
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	j := stagetest.New(t, kind, `{}`, nil)
	r := stagetest.Run(t.Context(), t, j, func(context.Context, *stages.Job) error {
		time.Sleep(4800 * time.Millisecond)
		return nil
	})
	if len(r.Events) != 3 || r.Events[1].Event != "heartbeat" {
		t.Errorf("events %+v, want start, heartbeat, done", r.Events)
	}
}

func wantLines(t *testing.T, file, want string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, string(b)); d != "" {
		t.Error(d)
	}
}

func appendText(t *testing.T, file, text string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}
