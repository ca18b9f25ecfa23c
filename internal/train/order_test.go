package train

import (
	"encoding/json"
	"math"
	"os"
	"reflect"
	"slices"
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

// What transformers and TRL put together: the same rows in a step, and as many tokens in each bin.
func TestCompany(t *testing.T) {
	var g struct {
		Grouped []struct {
			Lengths, Order, Want []int
			Step                 int
		}
		Packed []struct {
			Lengths, Want []int
			Room          int
		}
	}
	b, err := os.ReadFile("testdata/order.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	for _, c := range g.Grouped {
		if group(c.Order, c.Lengths, c.Step); !slices.Equal(c.Order, c.Want) {
			t.Errorf("%d rows, %d a step: %v, transformers %v", len(c.Lengths), c.Step, c.Order, c.Want)
		}
	}
	for _, c := range g.Packed {
		rows := make([]Example, len(c.Lengths))
		for i, n := range c.Lengths {
			rows[i] = Example{IDs: make([]int32, min(n, c.Room))}
		}
		got := Lengths(Pack(rows, c.Room))
		if slices.Sort(got); !slices.Equal(got, c.Want) {
			t.Errorf("%d rows into %d: %v, TRL %v", len(c.Lengths), c.Room, got, c.Want)
		}
	}
	o := &Order{Examples: 9, Rows: 2, Accumulate: 1, Shuffle: true, Lengths: []int{3, 1, 4, 1, 5, 9, 2, 6, 5}}
	var all []int
	for i := range o.StepsPerEpoch() {
		all = append(all, slices.Concat(o.Step(i)...)...)
	}
	if all[0] != 5 || len(all) != 9 {
		t.Errorf("steps %v: the longest comes first", all)
	}
	if slices.Sort(all); !slices.Equal(all, []int{0, 1, 2, 3, 4, 5, 6, 7, 8}) {
		t.Errorf("steps %v", all)
	}
}
