package job

import "encoding/json"

// CompleteRequest is a line that `hone-worker complete` reads. The first line names protocol, device and model and asks
// nothing; each later one asks for the answer to a conversation, or with Cancel alone ends the answer under way.
type CompleteRequest struct {
	Protocol int    `json:"protocol,omitempty"`
	Model    *Input `json:"model,omitempty"`
	Device   string `json:"device,omitempty"`
	Threads  int    `json:"threads,omitempty"`

	Cancel bool `json:"cancel,omitempty"` // the answer comes with what it has

	Messages          json.RawMessage `json:"messages,omitempty"`
	Tools             json.RawMessage `json:"tools,omitempty"`
	Vars              json.RawMessage `json:"vars,omitempty"` // an object of further variables of the template: {"enable_thinking": false}
	Date              string          `json:"date,omitempty"` // YYYY-MM-DD
	MaxNewTokens      int             `json:"max_new_tokens,omitempty"`
	Fit               bool            `json:"fit,omitempty"` // fewer new tokens where the model's positions end
	IgnoreEOS         bool            `json:"ignore_eos,omitempty"`
	Temperature       float64         `json:"temperature,omitempty"` // 0: greedy
	TopP              float64         `json:"top_p,omitempty"`
	TopK              int             `json:"top_k,omitempty"`
	MinP              float64         `json:"min_p,omitempty"`
	RepetitionPenalty float64         `json:"repetition_penalty,omitempty"` // 0: what generation_config.json says
	Seed              uint64          `json:"seed,omitempty"`
}

// CompleteReply is a line that it writes: Ready or Error once for the model; then for each request Warning where there is
// one, Delta as text comes, and last Answer or Error.
type CompleteReply struct {
	Ready   *CompleteReady `json:"ready,omitempty"`
	Warning string         `json:"warning,omitempty"`
	Delta   string         `json:"delta,omitempty"`
	Answer  *Completion    `json:"answer,omitempty"`
	Error   string         `json:"error,omitempty"`
	Code    int            `json:"code,omitempty"` // of an error: an exit code of the command line, 1 where it is left out
}

// CompleteReady says that the model is loaded. Plain: it has no chat template, so plain is used.
type CompleteReady struct {
	Plain bool `json:"plain,omitempty"`
}

// Completion is what `hone generate --json` prints.
type Completion struct {
	Text            string  `json:"text"`
	Tokens          []int32 `json:"tokens"`
	PromptTokens    int     `json:"prompt_tokens"`
	Seconds         float64 `json:"seconds"` // prefill and decoding, without loading
	TokensPerSecond float64 `json:"tokens_per_second"`
}
