package train

import (
	"math"
	"reflect"
	"testing"
)

// Steps that take the same examples again count as steps, and share the epoch out among them.
func TestOrderRepeats(t *testing.T) {
	o := &Order{Examples: 5, Rows: 2, Accumulate: 1, Repeat: 3}
	if o.StepsPerEpoch() != 9 || o.Steps(2) != 18 {
		t.Errorf("%d steps an epoch, %d in two", o.StepsPerEpoch(), o.Steps(2))
	}
	for step, want := range map[int64][][]int{0: {{0, 1}}, 2: {{0, 1}}, 3: {{2, 3}}, 8: {{4}}, 9: {{0, 1}}} {
		if got := o.Step(step); !reflect.DeepEqual(got, want) {
			t.Errorf("step %d takes %v, want %v", step, got, want)
		}
	}
	for step, want := range map[int64]float64{0: 0, 1: 1.0 / 9, 3: 1.0 / 3, 9: 1, 18: 2} {
		if got := o.Epoch(step); math.Abs(got-want) > 1e-12 {
			t.Errorf("after %d steps %g epochs, want %g", step, got, want)
		}
	}
}
