// Package job is the contract between the runner and the process that does one stage.
//
//	Job     what is to be done: job.json in the job folder, written by the runner
//	Input   an artifact that the stage reads; an adapter carries the model that it adapts
//	Event   one JSON line on the worker's standard output
//
// docs/worker.md is the prose of it. The package is a leaf: runner, stages and both programs import it.
package job

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Protocol is the version of Job and Event. A worker refuses a job of another version.
const Protocol = 1

// Job is the content of job.json. Paths are absolute; everything but Out, Log and Checkpoints is read-only.
type Job struct {
	Protocol       int    `json:"protocol"`
	Stage          string `json:"stage"`          // name in the pipeline, for messages alone
	Kind           string `json:"kind"`           // for example train.sft
	Implementation int    `json:"implementation"` // schemas.Implementation(Kind) of the planner

	Config json.RawMessage   `json:"config"` // the kind's fields with defaults filled; an edge is {"kind", "from", "port"}
	Inputs map[string]Input  `json:"inputs"` // by the field that holds the edge: "model", "data", "data[0].data", "suites.sql.data"
	Files  map[string]string `json:"files"`  // source file or folder, or hf://org/name@commit, by the field that names it: "source", "files[1]"

	Out         map[string]Output `json:"out"`         // one empty folder a port, made beforehand
	Log         string            `json:"log"`         // folder for what varies: metrics.jsonl, TensorBoard events, stderr
	Checkpoints string            `json:"checkpoints"` // folder that survives the process; a resume reads the newest whole one

	Device  string `json:"device"`  // cpu, cuda, cuda:N, or auto: CUDA where there is a device
	Threads int    `json:"threads"` // above zero
	Date    string `json:"date"`    // YYYY-MM-DD for templates that read the day

	Rows int64 `json:"rows,omitempty"` // a smoke: so many rows of each dataset and source are read; 0 is all
}

// Input is an artifact in the store.
type Input struct {
	Kind string `json:"kind"` // model, adapter, dataset, report, files
	Path string `json:"path"`
	Hash string `json:"hash"`
	Base *Input `json:"base,omitempty"` // adapters: the model adapted

	Origin *Origin `json:"origin,omitempty"` // datasets: where the rows came from
}

// Output is an out port.
type Output struct {
	Kind string `json:"kind"`
	Path string `json:"path"`
}

// Event is one line of a worker's standard output. Event names the fields that are set:
//
//	start       the worker has read the job
//	progress    Done, Total, Unit
//	metric      Step, Values
//	log         Level, Message
//	resumed     it goes on from what an earlier attempt has left
//	checkpoint  Step, Unit
//	heartbeat   at most five seconds after the line before it
//	done        Values (the stage's summary metrics)
//	error       Path, Message, Code (an exit code of the command line, 1 or 6)
type Event struct {
	Event    string             `json:"event"`
	Done     int64              `json:"done,omitempty"`
	Total    int64              `json:"total,omitempty"`
	Unit     string             `json:"unit,omitempty"`
	Step     int64              `json:"step,omitempty"`
	Values   map[string]float64 `json:"values,omitempty"`
	Level    string             `json:"level,omitempty"`
	Message  string             `json:"message,omitempty"`
	Path     string             `json:"path,omitempty"`
	Code     int                `json:"code,omitempty"`
	Memory   int64              `json:"memory,omitempty"`   // bytes at the peak: idle's of the process while it was at the job, done's of the largest program that it ran
	Numerics *Numerics          `json:"numerics,omitempty"` // start: what the bits depend on besides the key
}

// Numerics is what the bits of a result depend on besides its key. It is an attribute of a record.
type Numerics struct {
	Device   string `json:"device"`            // cpu or the accelerator's name
	ISA      string `json:"isa"`               // libtorch's CPU capability, for example AVX512
	Libtorch string `json:"libtorch"`          // 2.11.0; empty for a stage without tensors
	Kernels  string `json:"kernels,omitempty"` // of an accelerator: libhone_cuda and its version, or libtorch's alone
	Threads  int    `json:"threads"`
}

// String says them: cpu, AVX512, libtorch 2.11.0, 2 threads.
func (n Numerics) String() string {
	said := n.Device
	if n.ISA != "" {
		said += ", " + n.ISA
	}
	if n.Libtorch != "" {
		said += ", libtorch " + n.Libtorch
	}
	if n.Kernels != "" {
		said += ", " + n.Kernels
	}
	if n.Threads == 1 {
		return said + ", 1 thread"
	}
	return fmt.Sprintf("%s, %d threads", said, n.Threads)
}

// Error is a stage's failure as its user should read it: a path (file:line, row, field), then the thing.
type Error struct {
	Path    string
	Message string
	Code    int   // exit code: 1, or 6 where the environment lacks something
	Err     error // the cause, for errors.Is; Message already says it
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func (e *Error) Error() string {
	if e.Path == "" {
		return e.Message
	}
	return e.Path + ": " + e.Message
}

// Read reads job.json from the job folder dir and refuses another protocol.
func Read(dir string) (*Job, error) {
	b, err := os.ReadFile(filepath.Join(dir, "job.json"))
	if err != nil {
		return nil, err
	}
	var j Job
	if err := json.Unmarshal(b, &j); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, "job.json"), err)
	}
	if j.Protocol != Protocol {
		return nil, fmt.Errorf("job protocol %d, this worker speaks %d: install hone and hone-worker of one version", j.Protocol, Protocol)
	}
	return &j, nil
}
