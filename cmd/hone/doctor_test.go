package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/schemas"
)

// doctorWith runs doctor --json beside a worker that is the given shell script; none where it is empty.
func doctorWith(t *testing.T, script, store string) (code int, checks map[string]checkup) {
	t.Helper()
	dir := t.TempDir()
	if script != "" {
		path := filepath.Join(dir, "hone-worker")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	t.Setenv("HONE_WORKER", "")
	t.Setenv("HONE_STORE", store)
	var stdout, stderr bytes.Buffer
	code = hone([]string{"doctor", "--json"}, &stdout, &stderr)
	var said struct {
		OK     bool      `json:"ok"`
		Checks []checkup `json:"checks"`
	}
	if err := json.Unmarshal(stdout.Bytes(), &said); err != nil {
		t.Fatalf("%v in %q; %s", err, stdout.String(), stderr.String())
	}
	if said.OK != (code == 0) {
		t.Errorf("ok is %v with exit code %d", said.OK, code)
	}
	checks = map[string]checkup{}
	for _, c := range said.Checks {
		checks[c.Name] = c
	}
	return code, checks
}

func TestDoctorFindsWhatIsThere(t *testing.T) {
	said := fmt.Sprintf(`{"protocol": %d, "libtorch": "2.11.0", "cpu_capability": "AVX512", "threads": 4, "devices": ["cpu"], "kinds": {"train.sft": %d}}`,
		job.Protocol, schemas.Implementation("train.sft"))
	store := filepath.Join(t.TempDir(), "not", "yet")
	code, checks := doctorWith(t, "echo '"+said+"'", store)
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	worker := checks["hone-worker"]
	if worker.Status != fine || !strings.Contains(worker.Found, "libtorch 2.11.0") || worker.Mend != "" {
		t.Errorf("worker: %+v", worker)
	}
	if s := checks["store"]; s.Status == missing || s.Detail["path"] != store {
		t.Errorf("store: %+v", s)
	}
	if _, err := os.Stat(store); err == nil {
		t.Error("doctor made the store")
	}
	for _, name := range []string{"cpu", "memory"} {
		if c := checks[name]; c.Status == missing || c.Found == "" {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

func TestDoctorNamesWhatIsMissing(t *testing.T) {
	for _, test := range []struct{ name, script, found string }{
		{"no worker", "", "no hone-worker"},
		{"no library", "echo 'hone-worker: libc10.so: cannot open shared object file' >&2; exit 127", "libc10.so: cannot open"},
		{"other protocol", `echo '{"protocol": 999}'`, "job protocol 999"},
		{"other implementation", fmt.Sprintf(`echo '{"protocol": %d, "kinds": {"train.sft": 999}}'`, job.Protocol), "version 999 of train.sft"},
		{"not a worker", "echo hello", "version --json"},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, checks := doctorWith(t, test.script, t.TempDir())
			if code != exitEnvironment {
				t.Errorf("exit code %d", code)
			}
			if c := checks["hone-worker"]; c.Status != missing || !strings.Contains(c.Found, test.found) || !strings.Contains(c.Mend, "./justw build") {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestDoctorRefusesAStoreThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	code, checks := doctorWith(t, "", filepath.Join(file, "store"))
	if c := checks["store"]; code != exitEnvironment || c.Status != missing || c.Mend == "" {
		t.Errorf("%d: %+v", code, c)
	}
}

// What people read fits 80 columns, but for the command that mends: it is there to be copied.
func TestDoctorFits(t *testing.T) {
	t.Setenv("PATH", "/usr/bin:/bin")
	t.Setenv("HONE_WORKER", "")
	t.Setenv("HONE_STORE", t.TempDir())
	var stdout, stderr bytes.Buffer
	if code := hone([]string{"doctor"}, &stdout, &stderr); code != exitEnvironment {
		t.Errorf("exit code %d", code)
	}
	for line := range strings.Lines(stdout.String()) {
		if len([]rune(line)) > 81 && !strings.Contains(line, "mend: ") {
			t.Error(line)
		}
	}
	if !strings.Contains(stdout.String(), "the rest of hone works without it") {
		t.Error(stdout.String())
	}
}
