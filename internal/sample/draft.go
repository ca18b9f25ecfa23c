package sample

// A drafter guesses how a sequence goes on from what it has said before (prompt lookup decoding, Saxena 2023): where its last
// tokens stood earlier, what followed them then. A pass over few tokens reads the weights once, as a pass over one does, and a
// row's logits do not depend on its company: the tokens chosen are those of decoding one by one, draws of a seed included, only
// sooner where a guess holds.
type drafter struct {
	said  []int32
	after map[gram]int // where what followed a run of tokens last begins
	reach int          // tokens to guess: more while guesses hold, fewer when they fail
}

// gram is a run of two or three tokens; the first of a run of two is below zero.
type gram [3]int32

const (
	maxDraft   = 7  // tokens of a guess
	draftRows  = 16 // rows of a pass up to which guessing pays: beyond, products cost more than reading the weights
	firstReach = 3
)

// guessing is switched off by the test that compares with decoding one by one.
var guessing = true

func newDrafter(prompt []int32) *drafter {
	d := &drafter{after: map[gram]int{}, reach: firstReach}
	for _, t := range prompt {
		d.say(t)
	}
	return d
}

// say appends a token. Runs are known once something follows them.
func (d *drafter) say(token int32) {
	n := len(d.said)
	if n >= 2 {
		d.after[gram{-1, d.said[n-2], d.said[n-1]}] = n
	}
	if n >= 3 {
		d.after[gram{d.said[n-3], d.said[n-2], d.said[n-1]}] = n
	}
	d.said = append(d.said, token)
}

// draft is the next tokens as they are guessed, at most limit; none where nothing like the end was said before.
func (d *drafter) draft(limit int) []int32 {
	n := len(d.said)
	limit = min(limit, d.reach)
	if n < 3 || limit < 1 || !guessing {
		return nil
	}
	from, ok := d.after[gram{d.said[n-3], d.said[n-2], d.said[n-1]}]
	if !ok {
		from, ok = d.after[gram{-1, d.said[n-2], d.said[n-1]}]
	}
	if !ok {
		return nil
	}
	return d.said[from:min(from+limit, n)]
}

// learn adapts to how many of the guessed tokens held.
func (d *drafter) learn(guessed, held int) {
	switch {
	case guessed == 0:
	case held == guessed:
		d.reach = min(2*d.reach, maxDraft)
	default:
		d.reach = held + 1
	}
}
