// Package sample decodes: a cache of keys and values, sequences that come and go, and the choice of tokens.
//
//	Request   a prompt and how its tokens are chosen
//	Options   temperature, top-k and the rest, as transformers' GenerationConfig names them
//	Generate  answers requests with so many sequences at a time; a place that falls free is taken by the next request
//
// Requests with one prompt share its reading: it is computed once while one of them is under way, and copied.
//
// What a sequence answers depends on its request and the order of requests alone, never on time.
package sample

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/tensor"
)

// Request is a prompt to be continued.
type Request struct {
	Prompt []int32 // not to be changed
	Options
	MaxNewTokens int
	End          map[int32]bool             // tokens that end a completion; they are part of it
	Stop         func(tokens []int32) bool  // asked after each token; nil never stops
	Token        func(token int32)          // told each token as it comes; may be nil
	Done         func(tokens []int32) error // told the completion
}

// ErrNotFinite is that of Generate where no token is likelier than another.
var ErrNotFinite = errors.New("the model's logits are not finite: its weights hold NaN or infinity, or its config is not theirs")

// prefillTokens bounds a pass over prompts, and with it the memory of activations.
const prefillTokens = 4096

// sequence is a request in the making.
type sequence struct {
	*Request
	slot   int64
	length int64 // tokens in the cache
	tokens []int32
	choose *chooser
	guess  *drafter
	closed bool
}

// last is the token that the next one follows.
func (s *sequence) last() int32 {
	if len(s.tokens) == 0 {
		return s.Prompt[len(s.Prompt)-1]
	}
	return s.tokens[len(s.tokens)-1]
}

// Generate answers the requests in order of arrival, at most batch at once.
func Generate(ctx context.Context, m *model.Model, requests []*Request, batch int) error {
	if batch < 1 {
		return errors.New("batch below one")
	}
	var room int64
	for i, r := range requests {
		if len(r.Prompt) == 0 {
			return fmt.Errorf("request %d: the prompt has no token", i)
		}
		if err := r.Options.check(); err != nil {
			return err
		}
		room = max(room, int64(len(r.Prompt)+r.MaxNewTokens))
	}
	batch = min(batch, len(requests))
	if batch == 0 {
		return nil
	}
	defer tensor.Open().Close()
	c := newCache(m, batch, room)
	defer c.free()
	free := make([]int64, batch)
	for i := range free {
		free[i] = int64(batch - 1 - i)
	}
	var active []*sequence
	for len(requests) > 0 || len(active) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		var admitted, joined []*sequence // with a prompt to read, and with one that a sequence under way has read
		tokens := 0
		for len(requests) > 0 && len(free) > 0 {
			r := requests[0]
			like := alike(active, r)
			if like != nil && turned(m, like) {
				like = nil
			}
			if like == nil && alike(admitted, r) == nil {
				if tokens > 0 && tokens+len(r.Prompt) > prefillTokens {
					break
				}
				tokens += len(r.Prompt)
			}
			requests = requests[1:]
			if r.MaxNewTokens < 1 {
				if err := r.Done(nil); err != nil {
					return err
				}
				continue
			}
			s := &sequence{Request: r, slot: free[len(free)-1], length: int64(len(r.Prompt)), choose: newChooser(r.Options, r.Prompt), guess: newDrafter(r.Prompt)}
			free = free[:len(free)-1]
			if like == nil {
				admitted = append(admitted, s)
				continue
			}
			s.length-- // its last token is decoded as if it were new
			c.copy(like.slot, s.slot, s.length)
			joined = append(joined, s)
		}
		active = append(active, joined...)
		var err error
		tensor.NoGrad(func() {
			growing, turning := turns(m, active)
			if whole := append(admitted, turning...); len(whole) > 0 {
				err = prefill(m, c, whole)
			}
			if err == nil && len(growing) > 0 {
				err = advance(m, c, growing)
			}
		})
		if err != nil {
			return err
		}
		active = append(active, admitted...)
		kept := active[:0]
		for _, s := range active {
			if !s.closed {
				kept = append(kept, s)
				continue
			}
			free = append(free, s.slot)
			if err := s.Done(s.tokens); err != nil {
				return err
			}
		}
		active = kept
	}
	return nil
}

// alike is a sequence with the prompt of r, nil where there is none. The newest are looked at first: a prompt's requests stand
// behind one another.
func alike(sequences []*sequence, r *Request) *sequence {
	for _, s := range slices.Backward(sequences) {
		if slices.Equal(s.Prompt, r.Prompt) {
			return s
		}
	}
	return nil
}

// turned reports whether a cache has turned since its sequence had its prompt alone: a new one cannot begin with a copy of it.
func turned(m *model.Model, s *sequence) bool {
	for n := int64(len(s.Prompt)); n <= s.length; n++ {
		if m.Turns(n) {
			return true
		}
	}
	return false
}

// turns sorts out the sequences whose cache does not hold for their next token.
func turns(m *model.Model, sequences []*sequence) (growing, turning []*sequence) {
	for _, s := range sequences {
		if m.Turns(s.length + 1) {
			s.length++
			turning = append(turning, s)
		} else {
			growing = append(growing, s)
		}
	}
	return growing, turning
}

// prefill runs sequences from their start, those that are alike as one, and takes the next token of each.
func prefill(m *model.Model, c *cache, sequences []*sequence) error {
	defer tensor.Open().Close()
	var prompts [][]int32
	var slots [][]int64
	at := make([]int, len(sequences)) // each one's in prompts
	for i, s := range sequences {
		whole := slices.Concat(s.Prompt, s.tokens)
		at[i] = slices.IndexFunc(prompts, func(p []int32) bool { return slices.Equal(p, whole) })
		if at[i] < 0 {
			at[i] = len(prompts)
			prompts, slots = append(prompts, whole), append(slots, nil)
		}
		slots[at[i]] = append(slots[at[i]], s.slot)
	}
	in, borders := c.prefill(prompts, slots)
	h, err := m.Hidden(in)
	if err != nil {
		return err
	}
	last := make([]int64, len(sequences))
	for i := range last {
		last[i] = borders[at[i]+1] - 1
	}
	logits := m.Logits(h.Rows(tensor.Of(last, int64(len(last)))))
	if sum := float64(logits.To(tensor.Float32).Sum().Floats()[0]); math.IsNaN(sum) || math.IsInf(sum, 0) {
		return ErrNotFinite
	}
	take(logits, sequences, make([][]int32, len(sequences)))
	return nil
}

// advance decodes the next token of every sequence, and those after it as far as they were guessed.
func advance(m *model.Model, c *cache, sequences []*sequence) error {
	defer tensor.Open().Close()
	var tokens []int32
	var slots, lengths []int64
	drafts := make([][]int32, len(sequences))
	for i, s := range sequences {
		// A token that is chosen from the last row needs no place in the cache: the sequence then has all it may.
		room := min(draftRows/len(sequences), s.MaxNewTokens-len(s.tokens), int(m.Reach(s.length)))
		if c.decoder == nil { // which has a row a sequence
			drafts[i] = s.guess.draft(room - 1)
		}
		s.length++
		tokens, slots, lengths = append(tokens, s.last()), append(slots, s.slot), append(lengths, s.length)
		for k, t := range drafts[i] {
			tokens, slots, lengths = append(tokens, t), append(slots, s.slot), append(lengths, s.length+int64(k)+1)
		}
	}
	if c.decoder != nil {
		logits, err := c.decoder.next(m, c, tokens, slots, lengths)
		if err == nil {
			take(logits, sequences, drafts)
		}
		return err
	}
	h, err := m.Hidden(c.next(tokens, slots, lengths))
	if err != nil {
		return err
	}
	take(m.Logits(h), sequences, drafts)
	return nil
}

// take chooses tokens of each sequence from logits [Σ (1 + draft), vocabulary]: its first row gives its next token; while that is
// the token that was guessed, the row after it gives another.
func take(logits tensor.Tensor, sequences []*sequence, drafts [][]int32) {
	vocabulary := int(logits.Shape()[1])
	first := make([]int, len(sequences))
	sampled := false
	for i, s := range sequences {
		if i > 0 {
			first[i] = first[i-1] + 1 + len(drafts[i-1])
		}
		sampled = sampled || !s.choose.greedy()
	}
	var best []int64
	var rows []float32
	if sampled {
		rows = logits.To(tensor.Float32).Contiguous().Floats()
	}
	row := func(i int) []float32 { return rows[i*vocabulary : (i+1)*vocabulary] }
	drawn := make([]int32, len(sequences)) // from the first row of each that is sampled
	var all sync.WaitGroup
	for i, s := range sequences {
		if !s.choose.greedy() {
			all.Go(func() { drawn[i] = s.choose.next(row(first[i])) })
		}
	}
	all.Wait()
	for i, s := range sequences {
		held := 0
		for ; ; held++ {
			token := drawn[i]
			if s.choose.greedy() {
				if best == nil {
					best = logits.ArgMax().Ints()
				}
				token = int32(best[first[i]+held])
			} else if held > 0 {
				token = s.choose.next(row(first[i] + held))
			}
			s.say(token)
			if s.closed || held == len(drafts[i]) || token != drafts[i][held] {
				break
			}
			s.length++ // the cache holds it already
		}
		s.guess.learn(len(drafts[i]), held)
	}
}

// say takes a token that was chosen.
func (s *sequence) say(token int32) {
	s.choose.seen(token)
	s.guess.say(token)
	s.tokens = append(s.tokens, token)
	if s.Token != nil {
		s.Token(token)
	}
	s.closed = len(s.tokens) >= s.MaxNewTokens || s.End[token] || s.Stop != nil && s.Stop(s.tokens)
}
