package runner

import (
	"slices"
)

// publish makes a node's outputs known to those after it. Where they differ from what those have used, the stages
// look again.
func (s *schedule) publish(n *node, outputs Outputs) {
	before, had := s.outputs[n.stage.Name]
	s.outputs[n.stage.Name] = outputs
	s.judge(n, outputs)
	if !had || equal(before, outputs) {
		return
	}
	for _, m := range s.nodes {
		if !slices.Contains(m.upstream, n) {
			continue
		}
		switch m.state {
		case waiting:
			m.res = nil
		case ended:
			m.state, m.res = waiting, nil
		default:
			m.stale = true
		}
	}
}

// judge compares a report that has come in with the thresholds of its gate.
func (s *schedule) judge(n *node, outputs Outputs) {
	failures, err := s.r.judge(n.stage, outputs)
	n.result.Failures = failures
	if err != nil {
		n.result.Failures = []Failure{{Suite: "report", Why: err.Error()}}
	}
}

// rebuild makes the damaged artifacts of others again before n has its turn.
func (s *schedule) rebuild(n *node, damaged map[string]error) {
	n.state, n.res = waiting, nil
	for name, damage := range damaged {
		up := s.byName[name]
		up.note("%v: made again", damage)
		if up.rebuilt++; up.rebuilt > 2 { // a disk that loses what was just written to it
			result := &StageResult{}
			result.fail(damage)
			s.end(up, result)
			continue
		}
		if up.state == ended {
			up.state, up.res = waiting, nil
		}
	}
}
