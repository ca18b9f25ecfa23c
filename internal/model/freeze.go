package model

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
)

// Freeze is weights of the base that training leaves as they are.
type Freeze struct {
	Layers     int      // the token embedding (and with it a head that is tied to it), and so many layers from the first
	Parameters []string // regular expressions, searched in the checkpoint's names
}

// ofLayer finds the number of a layer in a name.
var ofLayer = regexp.MustCompile(`\.(?:layers|h)\.(\d+)\.`)

// Freeze takes weights out of training. Their gradients are not computed, but for parts of a weight that holds several.
func (m *Model) Freeze(f Freeze) error {
	if f.Layers > len(m.layers) {
		return fmt.Errorf("layers: %d of the model's %d", f.Layers, len(m.layers))
	}
	patterns := make([]*regexp.Regexp, len(f.Parameters))
	matched := make([]bool, len(patterns))
	for i, p := range f.Parameters {
		var err error
		if patterns[i], err = regexp.Compile(p); err != nil {
			return fmt.Errorf("parameters: %w", err)
		}
	}
	still := func(name string) (frozen bool) {
		layer := -1
		if found := ofLayer.FindStringSubmatch(name); found != nil {
			layer, _ = strconv.Atoi(found[1])
		}
		frozen = 0 <= layer && layer < f.Layers
		for i, p := range patterns {
			if p.MatchString(name) {
				matched[i], frozen = true, true
			}
		}
		return frozen
	}
	left := false
	for _, w := range m.Base.Weights {
		frozen := make([]bool, len(w.Parts))
		for i, p := range w.Parts {
			frozen[i] = still(p.Name) || f.Layers > 0 && (w == m.embedding || w == m.positions)
			left = left || !frozen[i]
		}
		m.Base.Freeze(w, frozen)
	}
	var unused []error
	for i, hit := range matched {
		if !hit {
			unused = append(unused, fmt.Errorf("parameters: %q is in no name", f.Parameters[i]))
		}
	}
	if !left {
		unused = append(unused, errors.New("nothing is left to train"))
	}
	return errors.Join(unused...)
}

// embedsFrozen reports whether the stream before the first layer has no gradient.
func (m *Model) embedsFrozen() bool {
	return m.embedding.Frozen(0) && (m.positions == nil || m.positions.Frozen(0))
}

// Trained counts the weights that training moves.
func (m *Model) Trained() int64 {
	if m.LoRA != nil {
		return m.AdapterParameters()
	}
	var n int64
	for _, w := range m.Base.Weights {
		for i, p := range w.Places() {
			if !w.Frozen(i) {
				n += p.Rows * p.Columns
			}
		}
	}
	return n
}
