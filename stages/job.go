package stages

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"sync"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/memory"
)

// Job is what a stage is given. Inputs and files are read-only; out folders exist and are empty.
// Its methods are safe for concurrent use, but for Metric, Resumed, Summary and From.
type Job struct {
	*job.Job
	Dir string // the job folder

	events   *emitter
	metrics  *metrics // opened by the first Metric
	summary  map[string]float64
	programs int64            // bytes of the largest program that was run, at its peak
	origins  map[string][]run // by port: what From noted

	mu   sync.Mutex       // of read
	read map[string][]run // by file: what Row has read
}

// Common fields of every kind, which the runner reads and a stage does not.
var common = []string{"kind", "description", "needs", "resources"}

// Decode decodes the kind's fields into v, one of the schemas' types. A field that the type lacks is an error.
func (j *Job) Decode(v any) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(j.Config, &fields); err != nil {
		return Errorf("config", "%w", err)
	}
	for _, name := range common {
		delete(fields, name)
	}
	b, err := json.Marshal(fields)
	if err != nil {
		return Errorf("config", "%w", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return Errorf("config", "%w", err)
	}
	return nil
}

// In returns the artifact at the edge that the field holds: "data", "suites.sql.data". It panics where the job has
// none, since the schema made the field required or the stage did not look at its config.
func (j *Job) In(field string) job.Input {
	in, ok := j.Inputs[field]
	if !ok {
		panic(fmt.Sprintf("job.json has no input %s", field))
	}
	return in
}

// Dataset opens the dataset at the edge that the field holds; of a smoke's its first rows.
func (j *Job) Dataset(field string) (*dataset.Dataset, error) {
	d, err := dataset.Open(j.In(field).Path)
	if err == nil && j.Rows > 0 {
		d.Limit(j.Rows)
	}
	return d, err
}

// File returns the path of the source that the field names: "source", "files[1]". It panics as In does.
func (j *Job) File(field string) string {
	path, ok := j.Files[field]
	if !ok {
		panic(fmt.Sprintf("job.json has no file %s", field))
	}
	return path
}

// Out returns the folder of the port. It panics where the job has none.
func (j *Job) Out(port string) string {
	out, ok := j.Job.Out[port]
	if !ok {
		panic(fmt.Sprintf("job.json has no port %s", port))
	}
	return out.Path
}

// filled checks that the stage wrote something to every port.
func (j *Job) filled() error {
	ports := make([]string, 0, len(j.Job.Out))
	for port := range j.Job.Out {
		ports = append(ports, port)
	}
	sort.Strings(ports)
	for _, port := range ports {
		entries, err := os.ReadDir(j.Job.Out[port].Path)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			return Errorf("out/"+port, "nothing was written")
		}
	}
	return nil
}

// Progress says how far the stage is: done of total units ("rows", "tokens", "steps"); total 0 is unknown.
// It may be called for every row: most calls cost a clock reading and write nothing.
func (j *Job) Progress(done, total int64, unit string) {
	j.events.send(job.Event{Event: "progress", Done: done, Total: total, Unit: unit})
}

// Log tells the user something worth a line.
func (j *Job) Log(format string, args ...any) { j.log("info", format, args...) }

// Warn tells the user something that may be a mistake.
func (j *Job) Warn(format string, args ...any) { j.log("warn", format, args...) }

func (j *Job) log(level, format string, args ...any) {
	j.events.send(job.Event{Event: "log", Level: level, Message: fmt.Sprintf(format, args...)})
}

// Checkpoint says that the state after so many units ("steps", "completions", "rows") is durably in the checkpoints folder.
func (j *Job) Checkpoint(done int64, unit string) {
	j.events.send(job.Event{Event: "checkpoint", Step: done, Unit: unit})
}

// Summary sets a metric of the whole stage, which its record keeps.
func (j *Job) Summary(name string, value float64) { j.summary[name] = value }

// Ran counts a program that has ended: what it took is the stage's.
func (j *Job) Ran(p *os.ProcessState) {
	if p != nil {
		j.programs = max(j.programs, memory.Of(p))
	}
}

func (j *Job) close() {
	if j.metrics != nil {
		j.metrics.close()
	}
}
