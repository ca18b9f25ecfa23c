package stages

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hone-ml/hone/internal/job"
)

// run is rows of a dataset that came from one place, one after another: count of them, the first of them row at there.
type run struct {
	count, at int64
	from      string
}

// From notes where the next row of a port's dataset comes from: row at (from 1) of the input at the field from, or for
// data.load line at of a place below its source, ":" or "/train-00001.jsonl:". The notes lie in the log folder, since the
// same rows may stand in other lines tomorrow: an artifact and its hash do not know them. Not safe for concurrent use.
func (j *Job) From(port, from string, at int64) {
	if j.origins == nil {
		j.origins = map[string][]run{}
	}
	runs := j.origins[port]
	if n := len(runs); n > 0 && runs[n-1].from == from && runs[n-1].at+runs[n-1].count == at {
		runs[n-1].count++
		return
	}
	j.origins[port] = append(runs, run{1, at, from})
}

// saveOrigins writes what From noted, a line a run.
func (j *Job) saveOrigins() error {
	for port, runs := range j.origins {
		f, err := os.Create(filepath.Join(j.Job.Log, job.OriginFile(port)))
		if err != nil {
			return err
		}
		z := gzip.NewWriter(f)
		for _, r := range runs {
			fmt.Fprintf(z, "%d %d %s\n", r.count, r.at, r.from)
		}
		if err := errors.Join(z.Close(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// Row names row n (from 1) of the dataset at an input's field, with the line of the user's file that it came from where
// that is known: row 12 (data/train.jsonl:14).
func (j *Job) Row(field string, n int64) string {
	if place := j.Place(field, n); place != "" {
		return fmt.Sprintf("row %d (%s)", n, place)
	}
	return fmt.Sprintf("row %d", n)
}

// Place is the line of the user's file that a row came from, data/train.jsonl:14; empty where that is not known.
func (j *Job) Place(field string, n int64) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	for o, at := j.Inputs[field].Origin, n; o != nil; {
		r, ok := j.runOf(o.Notes, at)
		if !ok {
			break
		}
		at += r.at
		if o.Source != "" {
			return fmt.Sprintf("%s%s%d", o.Source, r.from, at)
		}
		o = o.Inputs[r.from]
	}
	return ""
}

// runOf finds the run that row n is in; at is then what is to be added to n. What is not there or cannot be read is not
// known: it is for a message alone.
func (j *Job) runOf(path string, n int64) (run, bool) {
	runs, ok := j.read[path]
	if !ok {
		runs = readRuns(path)
		if j.read == nil {
			j.read = map[string][]run{}
		}
		j.read[path] = runs
	}
	i, _ := slices.BinarySearchFunc(runs, n, func(r run, n int64) int {
		if r.count < n { // count is here the number of the run's last row
			return -1
		}
		return 1
	})
	if i == len(runs) {
		return run{}, false
	}
	return runs[i], true
}

// awaited gives the log of a stage before this one a moment to come: its record may be being made durable still.
func awaited(dir string) {
	for range 100 {
		if _, err := os.Stat(dir); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// readRuns reads runs with count made the number of the run's last row, and at the difference to the row's number there.
func readRuns(path string) []run {
	awaited(filepath.Dir(path))
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil
	}
	var runs []run
	var last int64
	lines := bufio.NewScanner(z)
	for lines.Scan() {
		var r run
		count, rest, _ := strings.Cut(lines.Text(), " ")
		at, from, ok := strings.Cut(rest, " ")
		if _, err := fmt.Sscan(count+" "+at, &r.count, &r.at); err != nil || !ok {
			return nil
		}
		r.from, r.at = from, r.at-last-1
		last += r.count
		r.count = last
		runs = append(runs, r)
	}
	if lines.Err() != nil {
		return nil
	}
	return runs
}
