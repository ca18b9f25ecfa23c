package runner

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hone-ml/hone/internal/job"
)

// Unfinished is how far an attempt came that left no record: attempt.json beside its state and its log. It is for people; what
// a resume goes on from is the state alone.
type Unfinished struct {
	Done  int64     `json:"done"`
	Total int64     `json:"total"`
	Unit  string    `json:"unit"`
	Saved int64     `json:"saved"`           // its newest checkpoint: of a step, or of so many units
	Kept  string    `json:"kept,omitempty"`  // the unit of Saved; steps where empty
	Error string    `json:"error,omitempty"` // why it failed; an interrupted one, or one that was killed, has none
	Ended time.Time `json:"ended,omitzero"`  // when it failed

	Shared string          `json:"shared,omitempty"` // of a training: the key of all but its length
	Config json.RawMessage `json:"config,omitempty"` // and its config, for the length

	Resume bool `json:"-"` // a checkpoint is there
	Now    bool `json:"-"` // a process is at it

	dir   string // of the attempt
	Other string `json:"-"` // flags of the attempt where they are not this run's, whose bits would be others: --device cpu --threads 2
}

// noteEvery is the time between notes of an attempt's progress: what a kill makes the note lag behind.
const noteEvery = time.Second

func unfinishedFile(checkpoints string) string { return filepath.Join(checkpoints, "attempt.json") }

// readUnfinished reads what an attempt noted; nil where there is nothing.
func readUnfinished(checkpoints string) *Unfinished {
	b, err := os.ReadFile(unfinishedFile(checkpoints))
	u := &Unfinished{}
	if err != nil || json.Unmarshal(b, u) != nil {
		return nil
	}
	return u
}

// saved is the attempt that a folder keeps a checkpoint of; nil where there is none.
func saved(checkpoints string) *Unfinished {
	u := readUnfinished(checkpoints)
	if kept, _ := os.ReadDir(filepath.Join(checkpoints, "state")); u == nil || len(kept) == 0 {
		return nil
	}
	u.Resume, u.dir = true, checkpoints
	return u
}

// others are the folders of the same key that are of another device or number of threads, with the flags that ask for those.
func others(checkpoints string) iter.Seq2[string, string] {
	return func(yield func(dir, flags string) bool) {
		all, _ := os.ReadDir(filepath.Dir(checkpoints))
		for _, e := range all {
			dir := filepath.Join(filepath.Dir(checkpoints), e.Name())
			at := strings.LastIndexByte(e.Name(), '-')
			if dir != checkpoints && at >= 0 && !yield(dir, fmt.Sprintf("--device %s --threads %s", e.Name()[:at], e.Name()[at+1:])) {
				return
			}
		}
	}
}

// savedElsewhere is the attempts at the same key with a checkpoint that are of another device or number of threads.
func savedElsewhere(checkpoints string) (found []*Unfinished) {
	for dir, flags := range others(checkpoints) {
		if u := saved(dir); u != nil {
			u.Other = flags
			found = append(found, u)
		}
	}
	return found
}

// note keeps what an attempt has come to. That it cannot be written is no reason to fail.
func (u *Unfinished) note(checkpoints string) {
	if b, err := json.Marshal(u); err == nil {
		_ = os.WriteFile(unfinishedFile(checkpoints), b, 0o644)
	}
}

// take follows a worker's event, and says whether it is worth a note at once.
func (u *Unfinished) take(e job.Event) bool {
	switch e.Event {
	case "progress":
		u.Done, u.Total, u.Unit = e.Done, e.Total, e.Unit
	case "metric":
		if u.Unit == "steps" {
			u.Done = max(u.Done, e.Step)
		}
	case "checkpoint":
		u.Saved, u.Kept, u.Resume = e.Step, e.Unit, true
		if u.Unit == u.unit() { // progress is told now and then
			u.Done = max(u.Done, e.Step)
		}
	}
	return e.Event == "checkpoint"
}

// ended notes how an attempt failed.
func (u *Unfinished) ended(checkpoints string, err error) {
	var failure *job.Error
	if !errors.As(err, &failure) || failure.Code != errInterrupted.Code {
		u.Error, u.Ended = err.Error(), time.Now().UTC()
	}
	u.note(checkpoints)
}

// String says how far it came and what is saved: interrupted at step 43 of 200, saved at 40.
func (u *Unfinished) String() string {
	said := "interrupted"
	switch {
	case u.Now:
		said = "being made"
	case u.Error != "":
		said = "failed"
	}
	switch {
	case u.Unit == "steps" && u.Total > 0:
		said += fmt.Sprintf(" at step %d of %d", max(u.Done, u.Saved), u.Total)
	case u.Total > 0:
		said += fmt.Sprintf(" at %d of %d %s", u.Done, u.Total, u.Unit)
	}
	switch {
	case !u.Resume && (u.Now || u.Error != "" && u.Total == 0): // there is nothing that could be
		return said
	case !u.Resume:
		return said + ", nothing saved"
	case u.Saved > 0 && u.Unit == u.unit():
		return said + fmt.Sprintf(", saved at %d", u.Saved)
	case u.Saved > 0:
		return said + ", saved at " + u.At()
	}
	return said
}

// At is what the newest checkpoint holds: step 40, 512 completions.
func (u *Unfinished) At() string {
	if u.unit() == "steps" {
		return fmt.Sprintf("step %d", u.Saved)
	}
	return fmt.Sprintf("%d %s", u.Saved, u.Kept)
}

func (u *Unfinished) unit() string { return cmp.Or(u.Kept, "steps") }

// Next is String, and what the next run makes of it.
func (u *Unfinished) Next() string {
	switch {
	case u.Now:
		return u.String()
	case u.Other != "":
		return u.String() + "; " + u.Other + " goes on from there"
	case u.Resume:
		return u.String() + ": the next run goes on from there"
	}
	return u.String() + ": the next run begins anew"
}

// Last is String and, of one that failed, when and the first line of why; the last too where the first leads to others.
func (u *Unfinished) Last() string {
	switch {
	case u.Other != "":
		return u.Next()
	case u.Now || u.Error == "":
		return u.String()
	}
	lines := strings.Split(strings.TrimSpace(u.Error), "\n")
	why := lines[0]
	if strings.HasSuffix(why, ":") && len(lines) > 1 {
		why += " … " + lines[len(lines)-1]
	}
	return fmt.Sprintf("%s (%s): %s", u, u.Ended.Local().Format("2006-01-02 15:04"), why)
}
