package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/memory"
	"github.com/hone-ml/hone/runner/store"
	"github.com/hone-ml/hone/schemas"
)

// checkup is one line of doctor: what was looked for, what was found, and what mends it.
type checkup struct {
	Name   string         `json:"name"`
	Status checkStatus    `json:"status"`
	Found  string         `json:"found"`
	Mend   string         `json:"mend,omitempty"`    // the command that mends it
	Detail map[string]any `json:"details,omitempty"` // the same as Found, for programs
}

type checkStatus string

const (
	fine    checkStatus = "ok"
	note    checkStatus = "note"    // hone does without it, or makes do
	missing checkStatus = "missing" // a run will need it
)

// What gives a worker CUDA.
const cudaBuild = "LIBTORCH=$(python3 -c 'import torch; print(torch.__path__[0])') ./justw build    (a Python with torch 2.11 and CUDA)"

// How long a program that doctor asks may take, and how little free space in the store is worth saying.
const (
	doctorPatience = 20 * time.Second
	littleSpace    = 5 << 30
)

func doctorCommand() *cobra.Command {
	var f flags
	var bench bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "what this machine has and lacks, with the command that mends it",
		Long: `doctor says what this machine has and what is missing, with the command that
mends it. ok is fine, note is worth knowing, missing is what a run will need. The
exit code is 6 where something is missing.

--bench measures how fast it is, in some seconds, for what hone plan predicts: it
is best done while the machine does nothing else. It is kept in the user's cache,
for each device and number of threads.`,
		Example: `  hone doctor
  hone doctor --bench
  hone doctor --bench --threads 4 --json`,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			worker := examineWorker(c.Context())
			checks := []checkup{
				{Name: "hone", Status: fine, Found: fmt.Sprintf("%s, job protocol %d, %s/%s", version(), job.Protocol, runtime.GOOS, runtime.GOARCH)},
				worker, examineStore(f.store), examineCPU(), examineMemory(),
			}
			checks = append(checks, examineGPU(c.Context(), worker)...)
			checks = append(checks, examineGit(c.Context()))
			if bench {
				checks = append(checks, benchMachine(c.Context(), worker, f.device, f.threads))
			}
			ok := true
			for _, found := range checks {
				ok = ok && found.Status != missing
			}
			if err := printCheckups(c, f.json, ok, checks); err != nil {
				return err
			}
			if !ok {
				return &exit{code: exitEnvironment}
			}
			return nil
		},
	}
	f.register(c, "json", "store", "device", "threads")
	c.Flags().BoolVar(&bench, "bench", false, "measure this machine for hone plan")
	return c
}

func printCheckups(c *cobra.Command, asJSON, ok bool, checks []checkup) error {
	if asJSON {
		return printJSON(c, map[string]any{"ok": ok, "checks": checks})
	}
	w, name, status := c.OutOrStdout(), 0, 0
	for _, f := range checks {
		name, status = max(name, len(f.Name)), max(status, len(f.Status))
	}
	margin := strings.Repeat(" ", name+status+4)
	for _, f := range checks {
		fmt.Fprintf(w, "%-*s  %-*s  %s\n", name, f.Name, status, f.Status, wrapped(f.Found, width(w)-len(margin), margin))
		if f.Mend != "" { // whole, to be copied
			fmt.Fprintf(w, "%smend: %s\n", margin, f.Mend)
		}
	}
	if !ok {
		fmt.Fprintln(w, "\nwhat is missing is needed by a run; the rest of hone works without it")
	}
	return nil
}

// examineWorker finds hone-worker and runs it: a worker that starts has found its libtorch.
func examineWorker(ctx context.Context) checkup {
	const build = "./justw build    (in a checkout of hone; or set HONE_WORKER)"
	f := checkup{Name: "hone-worker", Status: missing, Mend: build}
	path, err := findWorker()
	if err != nil {
		f.Found, _, _ = strings.Cut(err.Error(), ";") // the rest sends its reader here
		return f
	}
	out, err := ask(ctx, path, "version", "--json")
	if err != nil {
		f.Found = fmt.Sprintf("%s does not start: %v", path, err)
		return f
	}
	var said struct {
		Protocol      int            `json:"protocol"`
		Libtorch      string         `json:"libtorch"`
		CPUCapability string         `json:"cpu_capability"`
		Threads       int            `json:"threads"`
		Devices       []string       `json:"devices"`
		NoCUDA        string         `json:"no_cuda"` // why the worker has no CUDA device
		Kinds         map[string]int `json:"kinds"`   // implementation versions
	}
	if err := json.Unmarshal(out, &said); err != nil {
		f.Found = fmt.Sprintf("%s version --json: %v", path, err)
		return f
	}
	if said.Protocol != job.Protocol {
		f.Found = fmt.Sprintf("%s speaks job protocol %d, this hone %d", path, said.Protocol, job.Protocol)
		return f
	}
	for _, kind := range slices.Sorted(maps.Keys(said.Kinds)) {
		if want := schemas.Implementation(kind); said.Kinds[kind] != want {
			f.Found = fmt.Sprintf("%s has version %d of %s, this hone %d", path, said.Kinds[kind], kind, want)
			return f
		}
	}
	f.Status, f.Mend = fine, ""
	f.Found = fmt.Sprintf("%s: libtorch %s, %s, %d threads, %s", path, said.Libtorch, said.CPUCapability, said.Threads, strings.Join(said.Devices, " "))
	f.Detail = map[string]any{
		"path": path, "libtorch": said.Libtorch, "cpu_capability": said.CPUCapability, "threads": said.Threads, "devices": said.Devices, "no_cuda": said.NoCUDA,
	}
	return f
}

// examineStore says where artifacts go, whether they can, and how much room is left.
func examineStore(flag string) checkup {
	f := checkup{Name: "store", Status: missing, Mend: "hone --store DIR, or HONE_STORE=DIR, names another folder"}
	dir, _, err := store.Find(flag)
	if err != nil {
		f.Found = err.Error()
		return f
	}
	if _, err := store.Open(dir); err != nil {
		f.Found = err.Error()
		return f
	}
	there := dir // the store itself is made by the first run: nothing is written here
	for {
		info, err := os.Stat(there)
		if err == nil && info.IsDir() {
			break
		}
		if err == nil {
			f.Found = fmt.Sprintf("%s: %s is not a folder", dir, there)
			return f
		}
		if !errors.Is(err, os.ErrNotExist) || there == filepath.Dir(there) {
			f.Found = err.Error()
			return f
		}
		there = filepath.Dir(there)
	}
	if err := writable(there); err != nil {
		f.Found = fmt.Sprintf("%s: %s cannot be written: %v", dir, there, err)
		return f
	}
	free, network, err := space(there)
	if err != nil {
		f.Found = fmt.Sprintf("%s: %v", dir, err)
		return f
	}
	f.Found = fmt.Sprintf("%s, %s free", dir, store.Size(int64(free)))
	f.Detail = map[string]any{"path": dir, "free_bytes": free}
	switch {
	case network:
		f.Status, f.Found = note, f.Found+", on a network file system: its locks do not always hold between machines"
	case free < littleSpace:
		f.Status, f.Found, f.Mend = note, f.Found+": a model's checkpoints may not fit", "hone gc"
	default:
		f.Status, f.Mend = fine, ""
	}
	return f
}

func examineMemory() checkup {
	total, available, err := machineMemory()
	if err != nil {
		return checkup{Name: "memory", Status: note, Found: err.Error()}
	}
	found := fmt.Sprintf("%s, %s available", store.Size(int64(total)), store.Size(int64(available)))
	detail := map[string]any{"total_bytes": total, "available_bytes": available}
	if limit := memory.Limit(); limit > 0 && uint64(limit) < total { // a container's
		found += fmt.Sprintf(", limited to %s by the control group", store.Size(limit))
		detail["limit_bytes"] = limit
	}
	return checkup{Name: "memory", Status: fine, Found: found, Detail: detail}
}

// examineGPU lists NVIDIA devices by the driver's own program, and says why the worker does not use them where it does not. A
// machine without the program has none to list.
func examineGPU(ctx context.Context, worker checkup) []checkup {
	path, err := exec.LookPath("nvidia-smi")
	if err != nil {
		return nil
	}
	out, err := ask(ctx, path, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
	if err != nil {
		return []checkup{{Name: "gpu", Status: note, Found: fmt.Sprintf("nvidia-smi: %v", err)}}
	}
	var found []checkup
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != "" {
			f := checkup{Name: "gpu", Status: fine, Found: line}
			if why, _ := worker.Detail["no_cuda"].(string); why != "" {
				f.Status, f.Found, f.Mend = note, line+": hone-worker does not use it: "+why, cudaBuild
			}
			found = append(found, f)
		}
	}
	return found
}

func examineGit(ctx context.Context) checkup {
	out, err := ask(ctx, "git", "version")
	if err != nil {
		return checkup{Name: "git", Status: note, Found: "not found: only building hone needs it", Mend: "https://git-scm.com/downloads"}
	}
	return checkup{Name: "git", Status: fine, Found: strings.TrimPrefix(strings.TrimSpace(string(out)), "git version ")}
}

// ask runs a program and returns what it says. Its error ends with the program's own last line.
func ask(ctx context.Context, path string, args ...string) ([]byte, error) {
	return askFor(ctx, doctorPatience, path, args...)
}

func askFor(ctx context.Context, patience time.Duration, path string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c := exec.CommandContext(ctx, path, args...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	c.WaitDelay = time.Second
	out, err := c.Output()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("no answer within %s", patience)
	}
	if lines := strings.Split(strings.TrimSpace(stderr.String()), "\n"); err != nil && lines[len(lines)-1] != "" {
		return nil, fmt.Errorf("%w: %s", err, lines[len(lines)-1])
	}
	return out, err
}

// writable says whether a file can be made in a folder.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".hone-doctor-*")
	if err != nil {
		return err
	}
	f.Close()
	return os.Remove(f.Name())
}
