package loss

import "math"

// meter adds up what TRL logs of a micro-batch: shares of clipped tokens (of completions, where the ratio is a sequence's),
// the least and the largest share of a completion, and means over tokens.
type meter struct {
	p *Policy

	low, high, counted      float64 // clipped, of how many
	ownLow, ownHigh, own    float64 // of the completion at hand
	lowest, highest         float64 // share of a completion
	kl, entropy, tokenCount float64
}

func (p *Policy) meter() *meter { return &meter{p: p, lowest: math.Inf(1), highest: math.Inf(-1)} }

// clips reports whether the loss has no gradient through a ratio, being too low or too high.
func (p *Policy) clips(ratio, advantage float64) (low, high float64) {
	switch {
	case p.Kind == "cispo" && ratio > p.High && advantage > 0:
		return 0, 1
	case p.Kind == "cispo":
		return 0, 0
	case ratio < 1-p.Low && advantage < 0:
		return 1, 0
	case ratio > 1+p.High && advantage > 0:
		return 0, 1
	}
	return 0, 0
}

// begin is told of each completion, with its ratio where there is one.
func (m *meter) begin(ratio, advantage float64, sequence bool) {
	m.ownLow, m.ownHigh, m.own = 0, 0, 0
	if sequence {
		m.count(m.p.clips(ratio, advantage))
		m.end()
	}
}

func (m *meter) token(ratio, advantage, kl, entropy float64) {
	m.kl += kl
	m.entropy += entropy
	m.tokenCount++
	if !m.p.Sequence {
		m.count(m.p.clips(ratio, advantage))
	}
}

func (m *meter) count(low, high float64) {
	m.ownLow, m.ownHigh, m.own = m.ownLow+low, m.ownHigh+high, m.own+1
	m.low, m.high, m.counted = m.low+low, m.high+high, m.counted+1
}

func (m *meter) end() {
	if m.own == 0 {
		return
	}
	m.lowest, m.highest = min(m.lowest, m.ownLow/m.own), max(m.highest, m.ownHigh/m.own)
}

func (m *meter) values() map[string]float64 {
	v := map[string]float64{"entropy": m.entropy / max(m.tokenCount, 1)}
	if m.p.Beta != 0 {
		v["kl"] = m.kl / max(m.tokenCount, 1)
	}
	low, high := m.low/max(m.counted, 1), m.high/max(m.counted, 1)
	if m.p.Kind == "cispo" {
		v["cispo_clip_ratio"] = high
		return v
	}
	v["clip_ratio/low_mean"], v["clip_ratio/high_mean"], v["clip_ratio/region_mean"] = low, high, low+high
	if !math.IsInf(m.lowest, 0) { // some completion was measured
		v["clip_ratio/low_min"], v["clip_ratio/high_max"] = m.lowest, m.highest
	}
	return v
}
