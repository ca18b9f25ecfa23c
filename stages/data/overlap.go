package data

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/minhash"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/stages"
)

// Near duplicates are those whose questions share so much of their shingles. They are looked for among so many rows, spread over the
// dataset: of what is measured by these are held in memory.
const (
	nearly       = 0.7
	nearMeasured = 20_000
	nearTrained  = 500_000
)

const maxFound = 10

// asked is a row by what it asks and by what it asks and answers, white space and case left aside; of plain text both are the text.
type asked struct {
	question, whole [sha256.Size]byte
	text            string // the question
}

// Overlaps looks in the rows at data, which are trained on, for those at against[0] to against[n-1], which are there to measure by: two
// proofs each, ProofOverlap and ProofNear. For exact duplicates all rows are compared; for near ones all that are trained on where all is
// set, else nearTrained of them.
func Overlaps(ctx context.Context, j *stages.Job, n int, all bool) ([]*job.Proof, error) {
	var proofs []*job.Proof
	for i := range n {
		exact, near, err := overlap(ctx, j, fmt.Sprintf("against[%d]", i), all)
		if err != nil {
			return nil, err
		}
		proofs = append(proofs, exact, near)
	}
	return proofs, nil
}

// match is a row that is trained on and how alike it is.
type match struct {
	row   int64
	alike float64
}

// overlap compares the rows at a field with those of data.
func overlap(ctx context.Context, j *stages.Job, field string, all bool) (exact, near *job.Proof, err error) {
	questions, wholes := map[[sha256.Size]byte][]int64{}, map[[sha256.Size]byte][]int64{}
	index := minhash.New(nearly)
	var sample []int64 // of the field, for near ones
	rows, _, err := eachAsked(ctx, j, field, nearMeasured, func(row int64, a asked, picked bool) {
		questions[a.question] = append(questions[a.question], row)
		wholes[a.whole] = append(wholes[a.whole], row)
		if picked {
			index.Add(row, a.text)
			sample = append(sample, row)
		}
	})
	if err != nil {
		return nil, nil, err
	}
	among := int64(nearTrained)
	if all {
		among = 0
	}
	same := map[int64]int64{}   // by row of the field, the first that is like it
	alike := map[int64]bool{}   // answer and all
	nearby := map[int64]match{} // by row of the field, the first that is nearly like it
	trained, seen, err := eachAsked(ctx, j, "data", among, func(row int64, a asked, picked bool) {
		for _, other := range questions[a.question] {
			if same[other] == 0 {
				same[other] = row
			}
		}
		for _, other := range wholes[a.whole] {
			alike[other] = true
		}
		if picked {
			index.Take(a.text, func(other int64, by float64) bool {
				nearby[other] = match{row, by}
				return true
			})
		}
	})
	if err != nil {
		return nil, nil, err
	}
	maps.DeleteFunc(nearby, func(row int64, _ match) bool { return same[row] > 0 })
	others := slices.DeleteFunc(slices.Clone(sample), func(row int64) bool { return same[row] > 0 })
	exact = tellExact(field, rows, same, alike)
	near = tellNear(field, nearby, len(same) > 0, int64(len(others)), rows-int64(len(same)), seen, trained)
	return exact, near, nil
}

func tellExact(field string, rows int64, same map[int64]int64, alike map[int64]bool) *job.Proof {
	x := &job.Proof{Name: job.ProofOverlap, Data: field, State: job.Proven, Rows: int64(len(same)), Of: rows, Found: []*job.Found{}}
	what := map[bool]string{true: "with the answer", false: "with another answer or none"}
	switch {
	case len(same) == 0:
		x.Message = fmt.Sprintf("none of %d rows is trained on", rows)
	case int64(len(alike)) == rows:
		x.State, x.Message = job.Fails, fmt.Sprintf("all %d rows are trained on: this measures memory", rows)
	default:
		x.State = job.Advice
		x.Message = fmt.Sprintf("%s ask what is trained on, %d of them %s", Share(x.Rows, rows), len(alike), what[true])
	}
	for _, row := range slices.Sorted(maps.Keys(same))[:min(len(same), maxFound)] {
		x.Found = append(x.Found, &job.Found{Row: row, Same: same[row], Message: what[alike[row]]})
	}
	return x
}

// tellNear is of the rows that do not overlap: all, or a sample of them, others.
func tellNear(field string, nearby map[int64]match, overlap bool, others, all, seen, trained int64) *job.Proof {
	x := &job.Proof{Name: job.ProofNear, Data: field, State: job.Proven, Rows: int64(len(nearby)), Of: others, Found: []*job.Found{}}
	switch {
	case others == 0 && overlap:
		x.State, x.Message = job.Unproven, "no row is left besides those"
		return x
	case x.Rows > 0:
		x.State, x.Message = job.Advice, Share(x.Rows, others)+" nearly ask what is trained on"
	default:
		x.Message = fmt.Sprintf("none of %d rows nearly asks what is trained on", others)
	}
	if overlap {
		x.Message = "besides those, " + x.Message
	}
	if others < all {
		x.Message += fmt.Sprintf("; of %d, a sample", all)
	}
	if seen < trained {
		x.Message += fmt.Sprintf("; looked for in %d of %d rows; --all looks in all", seen, trained)
	}
	for _, row := range slices.Sorted(maps.Keys(nearby))[:min(len(nearby), maxFound)] {
		x.Found = append(x.Found, &job.Found{Row: row, Same: nearby[row].row, Message: fmt.Sprintf("alike by %.2f", nearby[row].alike)})
	}
	return x
}

// eachAsked calls f with the rows of a dataset, which count from one, and says which are among sample of them, spread over all; all are
// where that is 0. It gives how many rows there are, and how many are among these.
func eachAsked(ctx context.Context, j *stages.Job, field string, sample int64, f func(row int64, a asked, picked bool)) (row, picked int64, err error) {
	d, err := open(j, field)
	if err != nil {
		return 0, 0, err
	}
	defer d.Close()
	among := dataset.Spread(d.Rows, sample)
	err = each(ctx, j, d, func(i int64, r dataset.Row) error {
		question, answer := asks(d, r)
		row = i + 1
		in := picked < int64(len(among)) && among[picked] == row
		if in {
			picked++
		}
		f(row, asked{alikeness(question), alikeness(question + "\x00" + answer), question}, in)
		return nil
	})
	if err != nil {
		err = stages.Errorf(field, "%w", err)
	}
	return row, picked, err
}

// asks is what a row asks and the answer that it has: the turns before the last of the assistant, system messages left out, or
// the prompt, or plain text.
func asks(d *dataset.Dataset, row dataset.Row) (question, answer string) {
	ask := d.Get(row, PromptRole(d.Format))
	switch d.Format {
	case dataset.PromptCompletion, dataset.KTO:
		answer = said(d.Get(row, "completion"))
	case dataset.Preference:
		answer = said(d.Get(row, "chosen"))
	}
	turns, _ := ask.([]ordjson.Value)
	if n := len(turns); n > 0 && roleOf(turns[n-1]) == "assistant" {
		ask, answer = turns[:n-1:n-1], said(turns[n-1:])
	}
	if answer == "" {
		answer = said(d.Get(row, "answer"))
	}
	return said(ask), answer
}

// said is the text of a value, or of the messages that are not the system's.
func said(v ordjson.Value) string {
	if turns, ok := v.([]ordjson.Value); ok {
		v = slices.DeleteFunc(slices.Clone(turns), func(turn ordjson.Value) bool {
			role := roleOf(turn)
			return role == "system" || role == "developer"
		})
	}
	return strings.Join(dataset.TextsOf(v), "\n")
}

func roleOf(turn ordjson.Value) string {
	m, ok := turn.(*ordjson.Object)
	if !ok {
		return ""
	}
	role, _ := m.Text("role")
	return role
}

// alikeness is equal for texts that differ in white space and case alone.
func alikeness(text string) [sha256.Size]byte {
	return sha256.Sum256([]byte(strings.Join(strings.Fields(strings.ToLower(text)), " ")))
}

// PromptRole is the role that holds what a row asks.
func PromptRole(f dataset.Format) string {
	switch f {
	case dataset.Messages:
		return "messages"
	case dataset.Text:
		return "text"
	}
	return "prompt"
}

// Share says 12 of 200 rows (6%).
func Share(n, of int64) string { return fmt.Sprintf("%d of %d rows (%s)", n, of, Percent(n, of)) }

// Percent is a share in whole percent, of which little is not none.
func Percent(n, of int64) string {
	switch {
	case of == 0:
		return "0%"
	case n > 0 && n*200 < of:
		return "under 1%"
	}
	return fmt.Sprintf("%d%%", (n*200+of)/(2*of))
}
