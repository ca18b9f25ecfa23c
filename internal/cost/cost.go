// Package cost predicts what work on a language model takes, before it is done.
//
//	Model     the shape of a model: what its arithmetic and its memory follow from
//	Text      rows of data as far as work depends on them
//	Machine   how fast a machine is, measured (`hone doctor --bench`), published, or guessed
//	Estimate  seconds, memory and disk of a piece of work on a machine
//
// The arithmetic is the field's: a multiplication with an addition is two operations (FLOP), a forward pass takes two a weight and token
// (Kaplan et al. 2020, arXiv:2001.08361, section 2.1), a backward pass twice that, or once where weights stand still; attention comes on
// top. Time is arithmetic over the machine's rate of matrix products, or bytes of weights over its bandwidth where few rows are decoded,
// plus what each layer of a pass costs whatever its size. docs/cost.md says what is left out.
package cost

// Estimate is what a piece of work takes.
type Estimate struct {
	Fixed  float64 // seconds of starting, loading and writing, which a resume spends again
	Work   float64 // seconds of what a resume does not do twice
	Memory int64   // bytes at the peak
	Mapped int64   // bytes of a checkpoint that is mapped while weights are read: they count with the process, and the system can take them back
	Least  int64   // bytes without which it cannot be done: weights, gradients and the optimiser's state as they are held
	Disk   int64   // bytes of what it leaves, and of the checkpoints on the way
}

// Peak is the memory that a system will show.
func (e Estimate) Peak() int64 { return max(e.Memory, e.Mapped) }

// Seconds is all of the time.
func (e Estimate) Seconds() float64 { return e.Fixed + e.Work }

// Text is rows of data.
type Text struct {
	Rows    float64
	Bytes   float64 // of text in a row, on average
	Pieces  float64 // words, digits and runs of marks of that text, of which none is less than a token
	Answer  float64 // of the bytes what a model is to say: the assistant's turns, completions
	Said    float64 // and of the pieces
	Shared  float64 // of them what all rows begin with
	Longest float64 // of text in the longest row that was seen
	Turns   float64 // pieces that a template puts its marks around; 0 of plain text
	System  float64 // the share of rows with a system message
	Pairs   bool    // each row is a prompt with two answers
}

// SharedTokens is the tokens that all rows begin with: of a conversation the beginning of a turn at least.
func (t Text) SharedTokens(m Model) float64 {
	return t.Shared/m.BytesPerToken() + t.prelude(m) + min(t.Turns, 1)
}

// prelude is the tokens of a template's own system message.
func (t Text) prelude(m Model) float64 {
	if t.Turns == 0 {
		return 0
	}
	return (1 - t.System) * float64(m.Prelude) / m.BytesPerToken()
}

// turnTokens is what a chat template adds to a turn: its beginning, the role, its end (ChatML: five).
const turnTokens = 5

// Tokens estimates the tokens of a row, after the template, and of them those of answers.
func (t Text) Tokens(m Model) (all, answer float64) {
	all = t.words(m) + turnTokens*t.Turns + t.prelude(m)
	answer = max(t.Answer/m.BytesPerToken(), t.Said)
	if t.Answer > 0 {
		answer++ // the end of the turn
	}
	return max(all, 1), answer
}

// words is the tokens of a row's text alone.
func (t Text) words(m Model) float64 { return max(t.Bytes/m.BytesPerToken(), t.Pieces) }

// LongestTokens estimates the tokens of the longest row that was seen.
func (t Text) LongestTokens(m Model) float64 {
	all, _ := t.Tokens(m)
	return all + t.words(m)*max(t.Longest/max(t.Bytes, 1)-1, 0)
}

// Pass is rows that a model reads at once: groups of those that share a prompt, in tokens.
type Pass struct {
	Groups, Rows   float64 // Rows of each group
	Prompt, Answer float64 // of a row
	Shared         float64 // of Prompt what all groups begin with
	Apart          bool    // nothing is computed once for several rows
}

// Tokens is what is computed: a row's beginning not again that it shares with the first row of the pass. What it has in common with
// another alone is (internal/model, Shared), so that a prompt is read once for all of its answers in the first group only.
func (p Pass) Tokens() float64 { return p.all() - p.spared() }

// Gathered is the tokens that attention is given, those of all rows, where rows share some: it has copies of their queries, keys and values.
func (p Pass) Gathered() float64 {
	if p.spared() == 0 {
		return 0
	}
	return p.all()
}

func (p Pass) all() float64 { return p.Groups * p.Rows * (p.Prompt + p.Answer) }

// spared is the tokens that are not computed again; less than a tenth is not worth it.
func (p Pass) spared() float64 {
	n := (p.Rows-1)*p.Prompt + max(p.Groups-1, 0)*p.Rows*min(p.Shared, p.Prompt)
	if p.Shared == 0 { // each group's first row is compared with
		n = p.Groups * (p.Rows - 1) * p.Prompt
	}
	if p.Apart || n < 0.1*p.all() {
		return 0
	}
	return n
}
