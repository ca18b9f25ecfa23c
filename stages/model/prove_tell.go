package model

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/stages/data"
)

// tell says what became of the rows of a field, proof by proof. Of a suite's there is no set: they do not train, and what an eval refuses
// is their form or how they are printed.
func (p *prover) tell(field string, format dataset.Format, set *job.Rows, results []*tryOf[*looked]) {
	bad := map[string][]*job.Found{}
	chats, taught := false, p.c.Kind != "train.grpo"
	var good []*tryOf[*looked]
	for _, r := range results {
		if r.err != nil {
			name := about(r.err)
			if set == nil && name != job.ProofRender {
				name = job.ProofForm
			}
			bad[name] = append(bad[name], &job.Found{Row: r.row, Message: r.err.Error()})
			chats = chats || name == job.ProofRender || name == job.ProofPrefix || name == job.ProofEnd
			continue
		}
		good = append(good, r)
		chats = chats || r.made.rendered
	}
	p.chats = p.chats || chats
	left := int64(len(results)) // rows that came as far as a proof
	proof := func(name, proven string, found []*job.Found, state job.State, message string) {
		x := &job.Proof{Name: name, Data: field, State: job.Proven, Message: proven, Of: left}
		switch refused := bad[name]; {
		case len(refused) > 0:
			x.State, x.Rows, x.Found = job.Fails, int64(len(refused)), refused
			x.Message = data.Share(x.Rows, x.Of) + " refused"
			left -= x.Rows
		case left == 0, len(good) == 0 && name != job.ProofForm && name != job.ProofRender:
			x.State, x.Message = job.Unproven, "no row came so far"
		case len(found) > 0:
			x.State, x.Rows, x.Found, x.Message = state, int64(len(found)), found, data.Share(int64(len(found)), left)+" "+message
		}
		x.Found = data.Few(x.Found)
		p.add(x)
	}
	// which lists the rows of which something holds.
	which := func(holds func(*looked) (bool, string)) (found []*job.Found) {
		for _, r := range good {
			if ok, message := holds(r.made); ok {
				found = append(found, &job.Found{Row: r.row, Message: message})
			}
		}
		return found
	}

	proof(job.ProofForm, data.Shape(format), nil, "", "")
	proof(job.ProofTurns, data.InOrder, which(func(l *looked) (bool, string) { return l.odd != "", l.odd }), job.Advice, data.OutOfOrder)
	if chats {
		by := "the model's template prints them"
		if p.Template.Substituted {
			by = "the model has no chat template: plain prints them"
		}
		proof(job.ProofRender, by, nil, "", "")
		if x := p.report.Proofs[len(p.report.Proofs)-1]; p.Template.Substituted && x.State == job.Proven {
			x.State = job.Advice
		}
	}
	if set == nil {
		return
	}
	const diverged = "the prompt is tokenized otherwise alone than with its completion"
	begins := which(func(l *looked) (bool, string) {
		if l.turns != nil && about(l.turns) != job.ProofEnd {
			return true, l.turns.Error()
		}
		return l.diverged, diverged
	})
	if taught && (chats || len(begins) > 0) {
		proven := "a turn is printed alike when the conversation goes on"
		if p.Template.Marked() {
			proven = "the template marks what trains with {% generation %}"
		}
		proof(job.ProofPrefix, proven, begins, job.Advice, "begin otherwise than the model sees them when it answers")
	}
	if taught {
		before := ""
		if len(which(func(l *looked) (bool, string) { return l.cut || l.dropped, "" })) > 0 {
			before = ", before the cut at maxLength"
		}
		proof(job.ProofMask, fmt.Sprintf("%d of %d tokens train (%s)%s", set.Trained, set.Tokens, data.Percent(set.Trained, set.Tokens), before), nil, "", "")
		p.tellEnds(proof, which, chats)
	}
	if p.c.Kind != "model.pretrain" { // which cuts texts into rows of that length
		p.tellLength(proof, which, set, int64(len(good)))
	}
}

type telling = func(name, proven string, found []*job.Found, state job.State, message string)
type choosing = func(func(*looked) (bool, string)) []*job.Found

// tellEnds says whether a model would learn to stop.
func (p *prover) tellEnds(proof telling, which choosing, chats bool) {
	end, missing := p.turnEnd, "do not train the token that ends a turn: the model would not learn to stop"
	if !chats {
		end, missing = p.Tokenizer.EOS.Text, "do not end in a token that trains: the model would not learn to stop"
	}
	found := which(func(l *looked) (bool, string) {
		if l.turns != nil && about(l.turns) == job.ProofEnd {
			return true, l.turns.Error()
		}
		return !l.ends, ""
	})
	proof(job.ProofEnd, end+" ends what is answered, and trains", found, job.Advice, missing)
}

// tellLength says what maxLength leaves of the rows. It fails where that is less than half of them.
func (p *prover) tellLength(proof telling, which choosing, set *job.Rows, rows int64) {
	limit := p.c.MaxLength
	var gone, cut int64
	found := which(func(l *looked) (bool, string) {
		switch {
		case l.dropped:
			gone++
			return true, "dropped"
		case l.cut:
			cut++
			return true, "cut"
		}
		return false, ""
	})
	state, message := job.Advice, "are cut"
	because := "nothing that trains is left of them"
	if p.c.Kind == "train.grpo" {
		because = "a prompt is not cut"
	}
	if 2*gone > rows { // what is left is another data set
		state = job.Fails
	}
	switch {
	case gone == rows:
		message = "are dropped: " + because
	case cut == 0:
		message = "are dropped: " + because
	case gone > 0:
		message = fmt.Sprintf("are cut or dropped; dropped are %d: %s", gone, because)
	}
	proof(job.ProofLength, fmt.Sprintf("the longest has %d tokens of maxLength %d", set.Longest, limit), found, state,
		fmt.Sprintf("%s (maxLength %d, the longest has %d tokens)", message, limit, set.Longest))
	c, err := model.ReadConfig(p.j.In("model").Path)
	if err != nil || c.MaxPositionEmbeddings <= 0 {
		return
	}
	beyond := which(func(l *looked) (bool, string) {
		return !l.dropped && slices.ContainsFunc(l.sequences, func(s sequence) bool { return int64(min(len(s.ids), limit)) > c.MaxPositionEmbeddings }), "longer"
	})
	if len(beyond) > 0 {
		proof(job.ProofLength, "", beyond, job.Advice, fmt.Sprintf("have more tokens than the model has positions, %d (max_position_embeddings)", c.MaxPositionEmbeddings))
	}
}

// special looks at the tokens that the template and the tokenizer name: each is to be one token, and generation is to stop at the one
// that ends a turn.
func (p *prover) special() {
	seen := map[string]bool{}
	var tokens []string
	add := func(text string) {
		if text != "" && !seen[text] {
			seen[text] = true
			tokens = append(tokens, text)
		}
	}
	ends := []string{p.Tokenizer.EOS.Text}
	add(p.Tokenizer.EOS.Text)
	if p.chats {
		ends = append(ends, p.turnEnd)
		add(p.turnEnd)
		found := markers.FindAllString(p.Template.Source, -1)
		slices.Sort(found)
		for _, text := range found {
			add(text)
		}
	}
	for _, name := range []string{"bos_token", "pad_token"} {
		add(p.Template.Tokens[name])
	}
	x := &job.Proof{Name: job.ProofSpecial, Data: "model", State: job.Proven, Of: int64(len(tokens))}
	var split []string
	broken := false
	for _, text := range tokens {
		ids, _, err := p.Tokenizer.Encode(text, false)
		if len(ids) == 1 && err == nil {
			continue
		}
		split = append(split, fmt.Sprintf("%s is %d tokens", text, len(ids)))
		broken = broken || slices.Contains(ends, text)
	}
	switch id, one := p.single(p.turnEnd); {
	case len(split) > 0:
		x.State, x.Rows, x.Message = job.Advice, int64(len(split)), strings.Join(split, ", ")
		if broken {
			x.State = job.Fails
			x.Message += ": what ends a text or a turn is to be one token, at which a model stops"
		}
	case len(tokens) == 0:
		x.State, x.Message = job.Advice, "the tokenizer names no special token, and nothing ends a text"
	case p.chats && p.turnEnd == "":
		x.State, x.Message = job.Advice, "the template prints nothing after an answer at which a model could stop"
	case p.chats && one && !p.end[id]:
		x.State, x.Message = job.Advice, fmt.Sprintf("%s ends a turn, and generation does not stop there: template.set with specialTokens: eos: %q", p.turnEnd, p.turnEnd)
	default:
		x.Message = strings.Join(tokens, " ") + map[bool]string{true: " is one token", false: " are one token each"}[len(tokens) == 1]
	}
	p.add(x)
}

// single is the id of a text that is one token.
func (p *prover) single(text string) (int32, bool) {
	if text == "" {
		return 0, false
	}
	ids, _, err := p.Tokenizer.Encode(text, false)
	if err != nil || len(ids) != 1 {
		return 0, false
	}
	return ids[0], true
}
