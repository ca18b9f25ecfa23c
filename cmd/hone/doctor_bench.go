package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hone-ml/hone/internal/cost"
	"github.com/hone-ml/hone/runner/store"
)

// benchPatience is how long hone-worker may measure.
const benchPatience = 2 * time.Minute

// benchMachine has hone-worker measure what predictions go by, measures disk and hash here, and keeps it for plan.
func benchMachine(ctx context.Context, worker checkup, device string, threads int) checkup {
	f := checkup{Name: "bench", Status: missing, Mend: worker.Mend}
	path, _ := worker.Detail["path"].(string)
	if worker.Status != fine || path == "" {
		f.Found = "nothing is measured without hone-worker"
		return f
	}
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	f.Mend = ""
	m, err := measured(ctx, path, device, threads)
	if err != nil {
		f.Found = err.Error()
		return f
	}
	dir, err := profiles()
	if err == nil {
		path, err = m.Write(dir)
	}
	if err != nil {
		f.Found = err.Error()
		return f
	}
	f.Status = fine
	if m.Unsteady() != "" {
		f.Status, f.Mend = note, "hone doctor --bench    (while the machine does nothing else)"
	}
	f.Found = fmt.Sprintf("%s, %s: float32 %s FLOP/s (a training step reaches %.0f%%), bfloat16 %s FLOP/s, memory %s/s, disk %s/s, hash %s/s, a worker starts in %.2fs; kept in %s",
		m.Device, count(m.Threads, "thread"), rate(m.Float32), 100*m.Step, rate(m.BFloat16), store.Size(int64(m.Bandwidth)), store.Size(int64(m.Disk)),
		store.Size(int64(m.Hash)), m.Start, path)
	if m.Device != "cpu" {
		f.Found = strings.Replace(f.Found, count(m.Threads, "thread"), m.Name, 1)
	}
	if why := m.Unsteady(); why != "" {
		f.Found += "; unsteady: " + why
	}
	f.Detail = map[string]any{"path": path, "machine": m}
	return f
}

// rate is a number a second, as processors are sold by.
func rate(n float64) string {
	if n >= 1e12 {
		return fmt.Sprintf("%.3gT", n/1e12)
	}
	return fmt.Sprintf("%.3gG", n/1e9)
}

func measured(ctx context.Context, worker, device string, threads int) (m cost.Machine, err error) {
	others := elsewhere()
	started := fastest(3, threads == 1, func() error {
		_, err := askFor(ctx, doctorPatience, worker, "version")
		return err
	})
	out, err := askFor(ctx, benchPatience, worker, "bench", "--device", device, "--threads", fmt.Sprint(threads))
	if err != nil {
		return m, fmt.Errorf("%s bench: %w", worker, err)
	}
	if err := json.Unmarshal(out, &m); err != nil {
		return m, fmt.Errorf("%s bench: %w", worker, err)
	}
	m.Start, m.Measured = started, time.Now().UTC().Truncate(time.Second)
	m.Hardware, m.Processors, m.Others = hardware(m.Device), runtime.NumCPU(), others()
	if m.Device == "cpu" {
		m.Name = processor()
	} else {
		m.Memory = deviceMemory(ctx)
	}
	return m, disk(&m)
}

// hardware is what a profile of a device is of: the processor and how many there are, or the accelerators; empty where the system does not say.
func hardware(device string) string {
	if device == "cpu" {
		return processorModel() + ", " + count(runtime.NumCPU(), "processor")
	}
	var models []string
	files, _ := filepath.Glob("/proc/driver/nvidia/gpus/*/information")
	for _, file := range files {
		b, _ := os.ReadFile(file)
		for line := range strings.Lines(string(b)) {
			if model, ok := strings.CutPrefix(line, "Model:"); ok {
				models = append(models, strings.TrimSpace(model))
			}
		}
	}
	return strings.Join(models, ", ")
}

// elsewhere begins to watch the processors; what it returns tells how many of them, on average, work of others had since, other virtual
// machines' included, and 0 where the system does not say.
func elsewhere() func() float64 {
	began, before, own := time.Now(), working(), spent()
	return func() float64 {
		return max(working()-before-(spent()-own), 0) / time.Since(began).Seconds()
	}
}

// spent is the seconds that processors worked for this process and those that it started and saw end.
func spent() (seconds float64) {
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if unix.Getrusage(who, &u) == nil {
			seconds += time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
		}
	}
	return seconds
}

// disk measures writing a file and having it on the disk, and hashing.
func disk(m *cost.Machine) error {
	dir, err := os.MkdirTemp("", "hone-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	content := make([]byte, 32<<20)
	for i := range content { // nothing that a file system could make less of
		content[i] = byte(i * i >> 7)
	}
	const part = 1 << 20
	m.Hash = part / fastest(50, false, func() error { store.Sum(content[:part]); return nil })
	seconds := fastest(3, false, func() error {
		var file *os.File
		if file, err = os.Create(dir + "/file"); err != nil {
			return err
		}
		defer file.Close()
		if _, err = file.Write(content); err == nil {
			err = file.Sync()
		}
		return err
	})
	m.Disk = float64(len(content)) / seconds
	return err
}

// fastest is the least seconds of so many turns: what the machine does besides makes a turn slower, never faster. Of one thread the
// processor's time is taken, as hone-worker does it.
func fastest(turns int, oneThread bool, turn func() error) float64 {
	least := math.Inf(1)
	for range turns {
		start, own := time.Now(), spent()
		if turn() != nil {
			continue
		}
		least = min(least, time.Since(start).Seconds())
		if oneThread {
			least = min(least, spent()-own)
		}
	}
	return least
}

// deviceMemory is that of the first NVIDIA device in bytes; 0 where its driver does not say.
func deviceMemory(ctx context.Context) int64 {
	out, err := ask(ctx, "nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits")
	if err != nil {
		return 0
	}
	var mebibytes int64
	if _, err := fmt.Sscan(string(out), &mebibytes); err != nil {
		return 0
	}
	return mebibytes << 20
}
