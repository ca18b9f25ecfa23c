package minhash

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// found is the numbers of the texts that an index takes for nearly s.
func found(x *Index, s string) (ids []int64) {
	x.Take(s, func(id int64, _ float64) bool { ids = append(ids, id); return false })
	return ids
}

const question = "How many employees of each department in the table earn more than the average salary of all departments, sorted by name and then by age?"

// What case, punctuation and a word make of a text is nearly the same; another number of a short sum, another operator and another
// question are not.
func TestTake(t *testing.T) {
	for _, c := range []struct {
		a, b string
		near bool
	}{
		{question, question, true},
		{question, strings.ToUpper(strings.ReplaceAll(question, ",", " ;")), true},
		{question, strings.Replace(question, "salary", "wage", 1), true},
		{question, "Please: " + question, true},
		{question, "Which table has the most rows?", false},
		{"What is 4 + 1?", "what is 4 + 1", true},
		{"What is 4 + 1?", "What is 5 + 1?", false},
		{"What is 4 + 1?", "What is 4 - 1?", false},
		{"yes", "Yes.", true},
		{"yes", "no", false},
		{"", "", false},
		{"...", "...", false},
		{"表格里每个部门有多少名员工的工资高于平均工资", "表格里每个部门有多少名员工的工资高于平均工资？", true},
		{"表格里每个部门有多少名员工的工资高于平均工资", "哪个表格的行数最多", false},
	} {
		x := New(0.7)
		x.Add(7, c.a)
		if got := len(found(x, c.b)) == 1; got != c.near {
			t.Errorf("%q and %q: near is %v", c.a, c.b, got)
		}
	}
}

// A text that is taken out is not found again, and the others are.
func TestTakeOut(t *testing.T) {
	x := New(0.7)
	for id := range int64(3) {
		x.Add(id, question)
	}
	x.Take(question, func(id int64, alike float64) bool {
		if alike != 1 {
			t.Errorf("alike by %v", alike)
		}
		return id == 1
	})
	if got := fmt.Sprint(found(x, question)); got != "[0 2]" {
		t.Errorf("found %s", got)
	}
}

// Of pairs that are alike by more than the threshold nearly all are found, of others none.
func TestTakeFindsPairs(t *testing.T) {
	chance := rand.New(rand.NewPCG(3, 4))
	text := func() []string {
		words := make([]string, 60)
		for i := range words {
			words[i] = fmt.Sprint("w", chance.IntN(5000))
		}
		return words
	}
	const n = 1000
	x, nearly := New(0.7), make([]string, n)
	near := 0
	for i := range nearly {
		words := text()
		x.Add(int64(i), strings.Join(words, " "))
		for range i % 8 {
			words[chance.IntN(len(words))] = "other"
		}
		nearly[i] = strings.Join(words, " ")
	}
	missed := 0
	for i, s := range nearly {
		got := found(x, s)
		alike := jaccard(shingles(s), x.texts[i].shingles, 0)
		switch {
		case alike < 0.7 && len(got) > 0, len(got) > 1:
			t.Errorf("text %d, alike by %v: %v", i, alike, got)
		case alike >= 0.7:
			if near++; len(got) == 0 {
				missed++
			}
		}
	}
	if near < n/4 || missed > near/50 {
		t.Errorf("%d of %d near texts are missed", missed, near)
	}
}

// Texts that share all but their last words, and huge ones, take bounded time.
func TestTakeIsBounded(t *testing.T) {
	x := New(0.99)
	shared := strings.Repeat("the same context of a table with columns ", 20)
	for i := range 5000 {
		x.Add(int64(i), fmt.Sprint(shared, "row ", i, " of ", i*7, " and ", i*13))
	}
	x.Add(-1, strings.Repeat("a", 20<<20))
	x.Add(-2, strings.Repeat("a ", 10<<20))
	began := time.Now()
	for i := range 2000 {
		x.Take(fmt.Sprint(shared, "line ", i, " in ", i*3), func(int64, float64) bool { return false })
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	for _, text := range x.texts {
		if len(text.shingles) > maxWords {
			t.Errorf("%d shingles", len(text.shingles))
		}
	}
}

func BenchmarkTake(b *testing.B) {
	x := New(0.7)
	for i := range 20_000 {
		x.Add(int64(i), fmt.Sprint(question, i))
	}
	text := strings.Repeat(question+" 1 ", 10)
	for b.Loop() {
		x.Take(text, func(int64, float64) bool { return false })
	}
}
