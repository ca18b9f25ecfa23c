package model

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hone-ml/hone/internal/chat"
	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/modeldir"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/internal/sample"
	"github.com/hone-ml/hone/internal/tokenizer"
	"github.com/hone-ml/hone/stages"
	"github.com/hone-ml/hone/stages/data"
)

// Speaker is a model open for answering: weights, tokenizer and template.
type Speaker struct {
	Model     *model.Model
	Tokenizer *tokenizer.Tokenizer
	Template  *chat.Template
	end       map[int32]bool
	penalty   float64 // repetition_penalty of generation_config.json
}

// OpenSpeaker opens a model, or an adapter on its base, in float32, on a device in bfloat16.
func OpenSpeaker(in job.Input) (*Speaker, error) {
	s, err := newSpeaker(in)
	if err != nil {
		return nil, err
	}
	if s.Model, err = loadModel(in, deviceDtype()); err != nil {
		s.Tokenizer.Close()
		return nil, stages.Errorf("model", "%w", err)
	}
	s.Model.Base.Narrow()
	return s, nil
}

// newSpeaker is a speaker without weights.
func newSpeaker(in job.Input) (s *Speaker, err error) {
	dir := folder(in)
	s = &Speaker{end: map[int32]bool{}}
	if s.Template, err = chat.Load(dir); err != nil {
		return nil, err
	}
	if s.Tokenizer, err = tokenizer.Load(dir); err != nil {
		return nil, err
	}
	for _, id := range s.Tokenizer.StopIDs {
		s.end[id] = true
	}
	generation := dir
	if in.Base != nil && !exists(dir, "generation_config.json") { // an adapter with a tokenizer of its own
		generation = in.Base.Path
		if err := alsoEnds(s.end, generation); err != nil {
			return nil, err
		}
	}
	if s.Template.Substituted && s.Tokenizer.EOS.ID >= 0 {
		s.end[s.Tokenizer.EOS.ID] = true
	}
	s.penalty, err = repetitionPenalty(generation)
	return s, err
}

// Close frees the model.
func (s *Speaker) Close() {
	s.Model.Free()
	s.Tokenizer.Close()
}

// alsoEnds adds the eos_token_id, a number or a list, of a folder's generation_config.json to the tokens that end an answer.
func alsoEnds(end map[int32]bool, dir string) error {
	config, err := modeldir.ReadObject(dir, "generation_config.json")
	if err != nil || config == nil {
		return err
	}
	v, _ := config.Get("eos_token_id")
	ids, list := v.([]ordjson.Value)
	if !list && v != nil {
		ids = []ordjson.Value{v}
	}
	for _, id := range ids {
		n, _ := id.(ordjson.Number)
		i, err := strconv.ParseInt(string(n), 10, 32)
		if err != nil {
			return fmt.Errorf("%s: eos_token_id: a token's id is wanted, not %s", filepath.Join(dir, "generation_config.json"), ordjson.Short(id))
		}
		end[int32(i)] = true
	}
	return nil
}

func repetitionPenalty(dir string) (float64, error) {
	config, err := modeldir.ReadObject(dir, "generation_config.json")
	if err != nil || config == nil {
		return 0, err
	}
	v, _ := config.Get("repetition_penalty")
	if v == nil {
		return 0, nil
	}
	n, _ := v.(ordjson.Number)
	penalty, err := n.Float64()
	if err != nil || penalty <= 0 {
		return 0, fmt.Errorf("%s: repetition_penalty: a number above 0 is wanted, not %s", filepath.Join(dir, "generation_config.json"), ordjson.Short(v))
	}
	return penalty, nil
}

// Prompt is the tokens of a conversation with the generation prompt.
func (s *Speaker) Prompt(ctx context.Context, v chat.Vars) ([]int32, error) {
	v.GenerationPrompt = true
	text, err := s.Template.Render(ctx, v)
	if err != nil {
		return nil, err
	}
	ids, _, err := s.Tokenizer.Encode(text, false)
	if err == nil && len(ids) == 0 {
		err = errors.New("the prompt is empty")
	}
	return ids, err
}

// row is the prompt of a dataset's row. Messages lose a last assistant turn. Text of a prompt alone is a user's turn; text of
// a row with a completion goes in as it stands, as train.sft trains it.
func (s *Speaker) row(ctx context.Context, d *dataset.Dataset, row dataset.Row, system string, date time.Time) (*prompt, error) {
	var messages []chat.Message
	switch value := d.Get(row, data.PromptRole(d.Format)).(type) {
	case string:
		if d.Format != dataset.Prompt {
			if system != "" {
				return nil, errors.New("system: the row's prompt is plain text that goes in without a template")
			}
			ids, _, err := s.Tokenizer.Encode(value, true)
			if err == nil && len(ids) == 0 {
				err = errors.New("the prompt is empty")
			}
			return &prompt{ids: ids, shown: value, from: row}, err
		}
		messages = []chat.Message{chat.Turn("user", value)}
	case nil:
		return nil, fmt.Errorf("no %s", data.PromptRole(d.Format))
	default:
		var err error
		if messages, err = chat.Messages(value); err != nil {
			return nil, err
		}
	}
	if n := len(messages); n > 0 {
		if role, _ := messages[n-1].Text("role"); role == "assistant" {
			messages = messages[:n-1]
		}
	}
	if len(messages) == 0 {
		return nil, errors.New("no turn before the assistant's")
	}
	role, _ := messages[0].Text("role")
	added := system != "" && role != "system"
	if added {
		messages = append([]chat.Message{chat.Turn("system", system)}, messages...)
	}
	list := make([]ordjson.Value, len(messages))
	for i, m := range messages {
		list[i] = m
	}
	r, err := chat.NewRow(func(role string) ordjson.Value {
		switch role {
		case "messages":
			return list
		case "tools", "chat_template_kwargs":
			return d.Get(row, role)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := s.Template.CheckRoles(r.Messages); err != nil {
		return nil, fmt.Errorf("%s%w", data.PromptRole(d.Format), err)
	}
	ids, err := s.Prompt(ctx, chat.Vars{Messages: r.Messages, Tools: r.Tools, Extra: r.Extra, Date: date})
	return &prompt{ids: ids, shown: list, system: added, from: row}, err
}

// Text is a completion as it is shown and graded: without special tokens and outer white space.
func (s *Speaker) Text(tokens []int32) string {
	return strings.TrimSpace(s.Tokenizer.DecodeSkipSpecial(tokens))
}

// Request makes a request for the prompt. A stop string ends a completion, which is then cut before it.
func (s *Speaker) Request(prompt []int32, o sample.Options, maxNewTokens int, stop []string) *sample.Request {
	if o.RepetitionPenalty == 0 {
		o.RepetitionPenalty = s.penalty
	}
	r := &sample.Request{Prompt: prompt, Options: o, MaxNewTokens: maxNewTokens, End: s.end}
	if len(stop) > 0 {
		r.Stop = func(tokens []int32) bool { return cut(s.Tokenizer.DecodeSkipSpecial(tokens), stop) >= 0 }
	}
	return r
}

// cut is where the first of the stop strings begins in text, -1 where none does.
func cut(text string, stop []string) int {
	first := -1
	for _, s := range stop {
		if i := strings.Index(text, s); i >= 0 && (first < 0 || i < first) {
			first = i
		}
	}
	return first
}

// fits refuses prompts that the model has no positions for, and warns where an answer could not be as long as asked.
func (s *Speaker) fits(j *stages.Job, field string, prompts []prompt, maxNewTokens int) error {
	limit := int(s.Model.Config.MaxPositionEmbeddings)
	if limit <= 0 {
		return nil
	}
	var bad dataset.BadRows
	beyond := 0
	for _, p := range prompts {
		switch n := len(p.ids); {
		case n > limit:
			bad.Add(&dataset.RowError{Where: j.Row(field, p.row), Err: fmt.Errorf("the prompt has %d tokens, the model %d positions", n, limit)})
		case n+maxNewTokens > limit:
			beyond++
		}
	}
	if beyond > 0 {
		j.Warn("%d prompts leave fewer than maxNewTokens %d of the model's %d positions", beyond, maxNewTokens, limit)
	}
	return bad.Err()
}

// Fits is how many new tokens a prompt of so many may get: as many as asked for, with a warning where that is beyond the
// model's positions, or with fit fewer. A prompt that leaves no position is refused.
func (s *Speaker) Fits(prompt, maxNewTokens int, fit bool) (limit int, warning string, err error) {
	positions := int(s.Model.Config.MaxPositionEmbeddings)
	left := positions - prompt
	switch {
	case positions <= 0 || maxNewTokens <= left:
		return maxNewTokens, "", nil
	case left < 0 || fit && left == 0:
		return 0, "", fmt.Errorf("the prompt has %d tokens, the model %d positions", prompt, positions)
	case fit:
		return left, "", nil
	}
	return maxNewTokens, fmt.Sprintf("a prompt of %d tokens and %d new ones are more than the model's %d positions", prompt, maxNewTokens, positions), nil
}

// prompt is a row with the tokens to continue.
type prompt struct {
	row    int64 // from one
	ids    []int32
	shown  ordjson.Value // text, or the messages that were rendered
	system bool          // the first of shown is the stage's own system message
	from   dataset.Row
}

// prompts reads all rows of a dataset; all bad ones are named at once.
func (s *Speaker) prompts(ctx context.Context, j *stages.Job, field string, d *dataset.Dataset, system, date string, maxNewTokens int) ([]prompt, error) {
	today, err := day(date)
	if err != nil {
		return nil, err
	}
	var all []prompt
	var bad dataset.BadRows
	var n int64
	for row, err := range d.All() {
		if err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n++
		p, err := s.row(ctx, d, row, system, today)
		if err != nil {
			bad.Add(&dataset.RowError{Where: j.Row(field, n), Err: err})
			continue
		}
		p.row = n
		all = append(all, *p)
	}
	if err := bad.Err(); err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, errors.New("no rows")
	}
	return all, s.fits(j, field, all, maxNewTokens)
}
