package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/hone-ml/hone/internal/confidence"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
)

// suitesOf is the names of an eval's suites.
func suitesOf(s *pipelines.Stage) []string {
	return slices.Sorted(maps.Keys(suiteConfigs(s)))
}

func suiteConfigs(s *pipelines.Stage) map[string]map[string]any {
	var c struct {
		Suites map[string]map[string]any `json:"suites"`
	}
	_ = json.Unmarshal(s.Config, &c) // Compile made it
	return c.Suites
}

// suites is what an eval measured, by suite, with an interval where its rows tell one; without values where it has not run.
func (c *comparer) suites(s *runner.StagePlan) (map[string]*comparedMetric, error) {
	all := map[string]*comparedMetric{}
	configs := suiteConfigs(s.Stage)
	for suite, config := range configs {
		kind, better := "score", "higher"
		if _, ok := config["perplexity"]; ok {
			kind, better = "perplexity", "lower"
		}
		all[suite] = &comparedMetric{Stage: s.Name, Action: s.Action, Better: better, kind: kind, shown: true}
	}
	if s.Record == nil {
		return all, nil
	}
	dir := c.st.Tree(s.Record.Outputs["report"].Hash)
	report, err := runner.ReadReport(dir)
	if err != nil {
		return all, err
	}
	for suite, m := range all {
		measured, ok := report.Suites[suite]
		if !ok {
			continue
		}
		m.Value, m.Rows = &measured.Value, measured.Rows
		delete(configs[suite], "data")
		how, _ := json.Marshal(configs[suite])
		m.alike = s.Record.Input("suites."+suite+".data") + string(how)
		i, ok, err := interval(filepath.Join(dir, "samples", suite+".jsonl"), measured)
		if err != nil {
			return all, err
		}
		if ok {
			m.Low, m.High = &i.Low, &i.High
		}
	}
	return all, nil
}

// interval is that of a measure by the rows that the report keeps; false where it does not keep them all.
func interval(samples string, m runner.Measure) (i confidence.Interval, ok bool, err error) {
	f, err := os.Open(samples)
	if errors.Is(err, fs.ErrNotExist) {
		return i, false, nil
	} else if err != nil {
		return i, false, err
	}
	defer f.Close()
	var scores, losses, tokens []float64
	right, binary := 0, true
	for d := json.NewDecoder(bufio.NewReader(f)); ; {
		var row struct{ Score, Perplexity, Tokens *float64 }
		if err := d.Decode(&row); err == io.EOF {
			break
		} else if err != nil {
			return i, false, nil // a program's own report, say
		}
		switch {
		case row.Score != nil:
			scores = append(scores, *row.Score)
			binary = binary && (*row.Score == 0 || *row.Score == 1)
			if *row.Score == 1 {
				right++
			}
		case row.Perplexity != nil && row.Tokens != nil:
			losses = append(losses, *row.Tokens*math.Log(*row.Perplexity))
			tokens = append(tokens, *row.Tokens)
		}
	}
	switch {
	case m.Metric == "score" && int64(len(scores)) == m.Rows && binary:
		i, ok = confidence.Share(right, len(scores))
	case m.Metric == "score" && int64(len(scores)) == m.Rows:
		i, ok = confidence.Mean(scores)
		i.Low, i.High = max(0, i.Low), min(1, i.High)
	case m.Metric == "perplexity" && int64(len(losses)) == m.Rows:
		i, ok = confidence.Ratio(losses, tokens)
		i.Low, i.High = math.Exp(i.Low), math.Exp(i.High)
	}
	return i, ok && !math.IsInf(i.High, 0) && !math.IsNaN(i.High), nil
}
