package runner

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/schemas"
)

// Report is report.json: what an eval measured, suite by suite.
type Report struct {
	Suites   map[string]Measure `json:"suites"`
	Baseline map[string]Measure `json:"baseline,omitempty"`
}

// Measure is one suite's result. A score is between 0 and 1, higher is better; a perplexity is lower the better.
type Measure struct {
	Metric string  `json:"metric"` // score or perplexity
	Value  float64 `json:"value"`
	Rows   int64   `json:"rows"`
	Tokens int64   `json:"tokens"`
}

// Failure is a gate that does not hold.
type Failure struct {
	Suite string
	Why   string
}

func (f Failure) String() string { return f.Suite + ": " + f.Why }

// rounding is what a bound forgives: 0.8 − 0.7 is more than 0.1 in binary.
const rounding = 1e-9

// ReadReport reads the report in the folder of a report artifact.
func ReadReport(dir string) (*Report, error) {
	path := filepath.Join(dir, "report.json")
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var r Report
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &r, nil
}

// Gate is the thresholds of an eval stage by suite; none for stages of another kind.
func Gate(s *pipelines.Stage) (map[string]schemas.Gate, error) {
	if s.Kind != "eval" {
		return nil, nil
	}
	var config struct {
		Gate map[string]schemas.Gate `json:"gate"`
	}
	err := json.Unmarshal(s.Config, &config)
	return config.Gate, err
}

// Judge compares a report with the gate's thresholds. They are no part of the key, so it is done on every run.
func Judge(gate map[string]schemas.Gate, report *Report) []Failure {
	var failures []Failure
	for _, suite := range slices.Sorted(maps.Keys(gate)) {
		for _, why := range judge(gate[suite], suite, report) {
			failures = append(failures, Failure{suite, why})
		}
	}
	return failures
}

func judge(g schemas.Gate, suite string, report *Report) (why []string) {
	after, ok := report.Suites[suite]
	if !ok {
		return []string{"the report has no such suite"}
	}
	fail := func(format string, args ...any) { why = append(why, fmt.Sprintf(format, args...)) }
	// Written so that a value that is not a number fails.
	if g.Minimum != nil && !(after.Value >= *g.Minimum-rounding) {
		fail("%.4g is below the minimum %.4g", after.Value, *g.Minimum)
	}
	if g.Maximum != nil && !(after.Value <= *g.Maximum+rounding) {
		fail("%.4g is above the maximum %.4g", after.Value, *g.Maximum)
	}
	if g.MaxDrop == nil && g.MaxRise == nil {
		return why
	}
	before, ok := report.Baseline[suite]
	if !ok {
		fail("the report has no baseline to compare with")
		return why
	}
	if g.MaxDrop != nil {
		if drop := before.Value - after.Value; !(drop <= *g.MaxDrop+rounding) {
			if *g.MaxDrop < 0 {
				fail("%.4g after %.4g: it rose by %.4g, the gate wants %.4g", after.Value, before.Value, after.Value-before.Value, -*g.MaxDrop)
			} else {
				fail("%.4g after %.4g: it dropped by %.4g, the gate allows %.4g", after.Value, before.Value, drop, *g.MaxDrop)
			}
		}
	}
	if g.MaxRise != nil {
		if rise := after.Value/before.Value - 1; !(rise <= *g.MaxRise+rounding) || math.IsNaN(before.Value) {
			if *g.MaxRise < 0 {
				fail("%.4g after %.4g: it fell by %.1f%%, the gate wants %.1f%%", after.Value, before.Value, 100*(1-after.Value/before.Value), -100**g.MaxRise)
			} else {
				fail("%.4g after %.4g: it rose by %.1f%%, the gate allows %.1f%%", after.Value, before.Value, 100*rise, 100**g.MaxRise)
			}
		}
	}
	return why
}

// judge reads the report of an eval stage that has a gate.
func (r *Runner) judge(s *pipelines.Stage, outputs Outputs) ([]Failure, error) {
	gate, err := Gate(s)
	if err != nil || len(gate) == 0 {
		return nil, err
	}
	for _, out := range outputs {
		if out.Kind != "report" {
			continue
		}
		report, err := r.report(out.Hash)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		return Judge(gate, report), nil
	}
	return nil, fmt.Errorf("%s: a gate, and no report to judge", s.Name)
}
