package pipelines

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// assign has the greatest sum: that of all pairings tried one by one.
func TestAssign(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		gains := make([][]int, 1+r.IntN(5))
		columns := 1 + r.IntN(5)
		for i := range gains {
			for range columns {
				gains[i] = append(gains[i], max(0, r.IntN(30)-10))
			}
		}
		var best func(i, taken int) int
		best = func(i, taken int) int {
			if i == len(gains) {
				return 0
			}
			most := best(i+1, taken)
			for j, gain := range gains[i] {
				if taken>>j&1 == 0 {
					most = max(most, gain+best(i+1, taken|1<<j))
				}
			}
			return most
		}
		sum, taken := 0, map[int]bool{}
		for i, j := range assign(gains) {
			if j >= 0 && taken[j] {
				t.Fatalf("%v: column %d twice", gains, j)
			}
			if j >= 0 {
				taken[j] = true
				sum += gains[i][j]
			}
		}
		if want := best(0, 0); sum != want {
			t.Fatalf("%v: %d, want %d", gains, sum, want)
		}
	}
}

// renamed is a graph of n trainings that differ in their rates, in a chain, under names of a prefix.
func renamed(prefix string, n, epochs int) *Graph {
	g := &Graph{}
	for i := range n {
		s := &Stage{Name: fmt.Sprintf("%s%d", prefix, i), Kind: "exec", Config: []byte("{}"), Fields: []Field{
			{Path: "a", Value: 1.0}, {Path: "b", Value: 1.0}, {Path: "c", Value: 1.0}, {Path: "epochs", Value: float64(epochs)}, {Path: "rate", Value: float64(i)},
		}}
		if i > 0 {
			from := g.Stages[i-1].Name
			s.Fields = append(s.Fields, Field{Path: "z", Value: from + ".out"})
			s.Inputs = []Input{{Field: "z", Edge: Edge{From: from, Port: "out"}}}
		}
		g.Stages = append(g.Stages, s)
	}
	return g
}

// Many renamed stages are told apart in time, with another field changed in each of them too.
func TestMatchMany(t *testing.T) {
	for _, c := range []struct{ n, epochs, limit int }{{5000, 1, 5000}, {200, 2, 200}, {1000, 2, 1000}} {
		began := time.Now()
		changes := Diff(renamed("a", c.n, 1), renamed("b", c.n, c.epochs), func(Source) string { return "" })
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%d stages took %v", c.n, took)
		}
		right := 0
		for _, ch := range changes {
			if ch.Old != nil && ch.New != nil && ch.Old.Name[1:] == ch.New.Name[1:] {
				right++
			}
		}
		t.Log(c.n, right, len(changes), time.Since(began))
		if right < c.limit {
			t.Errorf("%d stages: %d found again", c.n, right)
		}
	}
}
