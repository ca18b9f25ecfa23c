package stages

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/tbevents"
)

// metricsFile holds a line a logged step, as `hone log --json` shows it.
const metricsFile = "metrics.jsonl"

// leading are the names that come first in a line; others follow in their own order.
var leading = []string{"epoch", "loss", "learning_rate", "grad_norm", "tokens", "time"}

// metrics is the log folder's record of a stage: metrics.jsonl and TensorBoard events.
type metrics struct {
	lines  *os.File
	events *tbevents.Writer
}

func openMetrics(dir string) (*metrics, error) {
	lines, err := os.OpenFile(filepath.Join(dir, metricsFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	events, err := tbevents.Create(dir, time.Now())
	if err != nil {
		lines.Close()
		return nil, err
	}
	return &metrics{lines, events}, nil
}

func (m *metrics) close() {
	m.lines.Close()
	m.events.Close()
}

// Metric logs the values of a step that has ended: to the runner, to log/metrics.jsonl and to TensorBoard, where
// they stand as train/NAME, and what is eval_NAME as eval/NAME, the names that transformers' Trainer gives them. "time" (Unix seconds) is now where the
// values have none.
func (j *Job) Metric(step int64, values map[string]float64) error {
	if j.metrics == nil { // not resumed: what a killed process logged before its first checkpoint is logged again
		if err := j.openMetrics(0); err != nil {
			return err
		}
	}
	now := time.Now()
	stamp, ok := values["time"]
	if !ok {
		stamp = float64(now.UnixMicro()) / 1e6
	} else {
		now = time.UnixMicro(int64(stamp * 1e6))
	}
	line := metricLine(step, stamp, values)
	if _, err := j.metrics.lines.Write(line); err != nil {
		return err
	}
	scalars := make(map[string]float64, len(values))
	for name, v := range values {
		if name != "time" {
			scalars[scalarName(name)] = v
		}
	}
	if err := j.metrics.events.Scalars(now, step, scalars); err != nil {
		return err
	}
	said := finite(values)
	said["time"] = stamp
	j.events.send(job.Event{Event: "metric", Step: step, Values: said})
	return nil
}

func scalarName(name string) string {
	if evaluated, ok := strings.CutPrefix(name, "eval_"); ok {
		return "eval/" + evaluated
	}
	return "train/" + name
}

// Resumed says that the stage goes on from the checkpoint of step. Lines of metrics.jsonl beyond it, which a killed
// process wrote and this one writes again, are dropped; TensorBoard is told the same.
func (j *Job) Resumed(step int64) error {
	if err := j.openMetrics(step); err != nil {
		return err
	}
	j.GoesOn("resumed from the checkpoint of step %d", step)
	return nil
}

// GoesOn tells the user that the stage goes on from what an earlier attempt has left, and the runner that the stage is resumed.
func (j *Job) GoesOn(format string, args ...any) {
	j.events.send(job.Event{Event: "resumed"})
	j.Log(format, args...)
}

// openMetrics goes on after what was logged up to step.
func (j *Job) openMetrics(step int64) error {
	file := filepath.Join(j.Job.Log, metricsFile)
	info, err := os.Stat(file)
	earlier := err == nil && info.Size() > 0
	if err := keepMetrics(file, step); err != nil {
		return err
	}
	if j.metrics, err = openMetrics(j.Job.Log); err != nil {
		return err
	}
	if earlier || step > 0 {
		return j.metrics.events.Restart(time.Now(), step+1)
	}
	return nil
}

// metricLine is {"step", the leading names, the others sorted}. What is not finite is null: JSON has no word for it.
func metricLine(step int64, stamp float64, values map[string]float64) []byte {
	line := strconv.AppendInt([]byte(`{"step":`), step, 10)
	add := func(name string, v float64) {
		key, _ := json.Marshal(name)
		line = append(append(append(line, ','), key...), ':')
		if math.IsNaN(v) || math.IsInf(v, 0) {
			line = append(line, "null"...)
			return
		}
		number, _ := json.Marshal(v)
		line = append(line, number...)
	}
	seen := map[string]bool{"step": true}
	for _, name := range leading {
		seen[name] = true
		if v, ok := values[name]; ok && name != "time" {
			add(name, v)
		}
	}
	line = append(line, `,"time":`...)
	line = strconv.AppendFloat(line, stamp, 'f', 6, 64)
	rest := make([]string, 0, len(values))
	for name := range values {
		if !seen[name] {
			rest = append(rest, name)
		}
	}
	sort.Strings(rest)
	for _, name := range rest {
		add(name, values[name])
	}
	return append(line, '}', '\n')
}

// keepMetrics cuts the file after the last line whose step is at most step, and a line that a kill left in half.
func keepMetrics(file string, step int64) error {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	var keep int64
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		var at struct{ Step *int64 }
		if json.Unmarshal(bytes.TrimSpace(line), &at) != nil || at.Step == nil || *at.Step > step {
			break
		}
		keep += int64(len(line))
	}
	return f.Truncate(keep)
}
