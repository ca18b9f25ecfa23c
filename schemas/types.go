package schemas

// The Go side of the schemas: one struct a kind, a field a CUE field, defaults filled by CUE before it is decoded.
// CUE is the truth; a test walks both sides and fails on any difference.
//
// An edge decodes to Edge; a field that takes an edge or a folder of the user's decodes to Ref.
// Pointers are for fields whose absence means something that no default can say.
// The tag edge lists the artifact kinds that an edge may carry; hone:"file" is CUE's @file(), hone:"unkeyed" its @key(none).
// What a field is called in TRL, PEFT, transformers, Axolotl or LLaMA-Factory its @elsewhere() says, where case and underscores are not all
// that differs: a message about such a name leads to the field.

// Edge names an out port of a stage.
type Edge struct {
	Kind string `json:"kind"`
	From string `json:"from"`
	Port string `json:"port"`
}

// Ref is an edge, or a path of the user's. A stage finds either by its field: in Job.Inputs or in Job.Files.
type Ref struct {
	Edge *Edge
	Path string
}

// ModelLoad is model.load: exactly one of Source and Config.
type ModelLoad struct {
	Source    string         `json:"source,omitempty" hone:"file"` // hf://org/name[@revision], a folder, or a .gguf file
	Config    map[string]any `json:"config,omitempty"`             // config.json of a fresh random model
	Seed      int64          `json:"seed"`
	Tokenizer *Ref           `json:"tokenizer,omitempty" edge:"model" hone:"file"` // with Config: model edge or folder
	Dtype     string         `json:"dtype"`                                        // auto, float32, bfloat16: how the weights are stored
}

// TemplateSet is template.set. Exactly one of Template (inline), File and Family, or none.
type TemplateSet struct {
	Model         Edge              `json:"model" edge:"model"`
	Template      string            `json:"template,omitempty"`
	File          string            `json:"file,omitempty" hone:"file"`
	Family        string            `json:"family,omitempty"`        // plain, chatml, llama3, qwen2.5, …
	SpecialTokens map[string]string `json:"specialTokens,omitempty"` // bos, eos, pad, unk: token text
	Generation    map[string]any    `json:"generation,omitempty"`    // merged into generation_config.json
}

// DataLoad is data.load.
type DataLoad struct {
	Source  string            `json:"source" hone:"file"`
	Format  string            `json:"format,omitempty"` // jsonl, json, csv, parquet, text; by the file's extension when left out
	Split   string            `json:"split,omitempty"`
	Columns map[string]string `json:"columns,omitempty"` // role → column of the file
}

// Range bounds a count, both ends included.
type Range struct {
	Min *int64 `json:"min,omitempty"`
	Max *int64 `json:"max,omitempty"`
}

// FilterStep is one step of curate.filter: exactly one field is set.
type FilterStep struct {
	Length *struct {
		Characters *Range `json:"characters,omitempty"`
		Tokens     *Range `json:"tokens,omitempty"`
		Turns      *Range `json:"turns,omitempty"`
	} `json:"length,omitempty"`
	Regex *struct {
		Pattern string `json:"pattern"`
		Column  string `json:"column,omitempty"` // all text of the row when left out
		Keep    bool   `json:"keep"`             // true keeps rows that match, false drops them
	} `json:"regex,omitempty"`
	Exact *struct{} `json:"exact,omitempty"`
}

// CurateFilter is curate.filter. Model is read for its tokenizer by steps that count tokens.
type CurateFilter struct {
	Data  Edge         `json:"data" edge:"dataset"`
	Model *Edge        `json:"model,omitempty" edge:"model"`
	Steps []FilterStep `json:"steps"`
}

// CurateSplit is curate.split: Parts are shares that sum to at most 1; one out port a part.
type CurateSplit struct {
	Data  Edge               `json:"data" edge:"dataset"`
	Parts map[string]float64 `json:"parts"`
	Seed  int64              `json:"seed"`
}

// CurateMix is curate.mix.
type CurateMix struct {
	Data []struct {
		Data   Edge    `json:"data" edge:"dataset"`
		Weight float64 `json:"weight"`
	} `json:"data"`
	Rows *int64 `json:"rows,omitempty"` // of the mixture; all rows of the scarcest part decide when left out
	Seed int64  `json:"seed"`
}

// Batch is what one optimiser step takes: Rows × Accumulate rows.
type Batch struct {
	Rows       int `json:"rows"`
	Accumulate int `json:"accumulate"`
}

// Schedule is the learning rate over steps. Warmup is in steps, or a share of all steps below 1.
type Schedule struct {
	Kind    string  `json:"kind"` // linear, cosine, constant, wsd
	Warmup  float64 `json:"warmup"`
	Minimum float64 `json:"minimum"`         // share of the learning rate
	Decay   float64 `json:"decay,omitempty"` // wsd alone: steps, or a share of all steps below 1
}

// Optimizer is an update rule and its constants.
type Optimizer struct {
	Kind        string  `json:"kind"` // adamw, adafactor, lion, muon
	Beta1       float64 `json:"beta1"`
	Beta2       float64 `json:"beta2"`
	Epsilon     float64 `json:"epsilon"`
	WeightDecay float64 `json:"weightDecay"`
	Momentum    float64 `json:"momentum,omitempty"` // muon alone
}

// LoRA is PEFT's LoraConfig. Targets is "all-linear", a list of module-name suffixes, or an expression.
type LoRA struct {
	Rank              int      `json:"rank"`
	Alpha             float64  `json:"alpha"`
	Dropout           float64  `json:"dropout"`
	Targets           Targets  `json:"targets"`
	RSLoRA            bool     `json:"rslora"`
	DoRA              bool     `json:"dora,omitempty"`
	Quantize          string   `json:"quantize,omitempty"` // nf4
	DoubleQuantize    bool     `json:"doubleQuantize,omitempty"`
	LearningRateRatio *float64 `json:"learningRateRatio,omitempty"`               // of B's learning rate to A's
	Init              *Ref     `json:"init,omitempty" edge:"adapter" hone:"file"` // an adapter to start from
}

// Freeze is weights that training leaves as they are.
type Freeze struct {
	Layers     int      `json:"layers,omitempty"`     // the embedding and so many layers from the first
	Parameters []string `json:"parameters,omitempty"` // RE2, searched in names
}

// Training is the fields that every training kind shares.
type Training struct {
	Model                 Edge      `json:"model" edge:"model"`
	Data                  Edge      `json:"data" edge:"dataset"`
	LearningRate          float64   `json:"learningRate"`
	Epochs                float64   `json:"epochs"`
	MaxSteps              *int64    `json:"maxSteps,omitempty"` // wins over Epochs
	Batch                 Batch     `json:"batch"`
	MaxLength             int       `json:"maxLength"` // tokens of a row
	Schedule              Schedule  `json:"schedule"`
	Optimizer             Optimizer `json:"optimizer"`
	Clip                  float64   `json:"clip"` // global gradient norm; 0 is none
	Seed                  int64     `json:"seed"`
	Shuffle               bool      `json:"shuffle"`
	Dtype                 string    `json:"dtype"` // auto, float32, bfloat16
	GradientCheckpointing bool      `json:"gradientCheckpointing"`
	Freeze                *Freeze   `json:"freeze,omitempty"`
	Date                  string    `json:"date"`                          // YYYY-MM-DD, for templates that read the day
	LogEvery              int       `json:"logEvery" hone:"unkeyed"`       // steps
	SaveEvery             int       `json:"saveEvery" hone:"unkeyed"`      // steps
	SaveTotalLimit        int       `json:"saveTotalLimit" hone:"unkeyed"` // checkpoints kept
}

// Evaluation is measuring a training as it goes, on rows that it does not train on.
type Evaluation struct {
	Data          Edge           `json:"data" edge:"dataset"`
	Every         int            `json:"every"` // steps
	Batch         int            `json:"batch"` // rows at once
	KeepBest      bool           `json:"keepBest"`
	EarlyStopping *EarlyStopping `json:"earlyStopping,omitempty"`
}

// EarlyStopping ends a training that gets no better.
type EarlyStopping struct {
	Patience int     `json:"patience"` // evaluations
	MinDelta float64 `json:"minDelta"`
}

// TrainSFT is train.sft.
type TrainSFT struct {
	Training
	Loss          string      `json:"loss,omitempty"`      // assistant, completion, all; see LossOf
	Objective     string      `json:"objective,omitempty"` // nll, dft; nll when left out
	Packing       bool        `json:"packing"`
	GroupByLength bool        `json:"groupByLength,omitempty"`
	NEFTuneAlpha  float64     `json:"neftuneAlpha,omitempty"`
	Eval          *Evaluation `json:"eval,omitempty"`
	LoRA          *LoRA       `json:"lora,omitempty"`
}

// LossOf says which tokens train on rows of a format: the loss that the user chose, else TRL's choice
// (SFTConfig.completion_only_loss and assistant_only_loss as they stand when nobody sets them).
func (t *TrainSFT) LossOf(format string) string {
	switch {
	case t.Loss != "":
		return t.Loss
	case format == "prompt-completion" || format == "kto":
		return "completion"
	}
	return "all"
}

// TrainDPO is train.dpo. Compile makes of Reference, or of its absence, the log-probs of a stage NAME/reference, which are the
// input "reference", and of a stage NAME/eval.reference those of Eval's rows; losses without a reference have none.
type TrainDPO struct {
	Training
	Loss              string      `json:"loss"` // TRL's loss_type, or simpo, orpo, kto
	Beta              float64     `json:"beta"`
	LabelSmoothing    float64     `json:"labelSmoothing"`
	Gamma             float64     `json:"gamma"`             // simpo
	DesirableWeight   float64     `json:"desirableWeight"`   // kto
	UndesirableWeight float64     `json:"undesirableWeight"` // kto
	Reference         *Edge       `json:"reference,omitempty" edge:"model,adapter"`
	Eval              *Evaluation `json:"eval,omitempty"`
	LoRA              *LoRA       `json:"lora,omitempty"`
}

// KTO is the loss on unpaired rows.
const KTO = "kto"

// ReferenceFree tells whether the loss reads no reference.
func (t *TrainDPO) ReferenceFree() bool { return t.Loss == "simpo" || t.Loss == "orpo" }

// Mismatched is the rows among which kto deals completions round to estimate the divergence; 0 for losses over pairs.
func (t *TrainDPO) Mismatched() int {
	if t.Loss == KTO {
		return t.Batch.Rows
	}
	return 0
}

// TrainDPOReference is the stage NAME/reference of a train.dpo, or NAME/eval.reference: the fields, under their names there, that
// decide what the reference says of the answers. Reference is another model than the one that is trained.
type TrainDPOReference struct {
	Model     Edge              `json:"model" edge:"model"`
	Data      Edge              `json:"data" edge:"dataset"`
	Reference *Edge             `json:"reference,omitempty" edge:"model,adapter"`
	LoRA      *TrainDPOInit     `json:"lora,omitempty"`
	MaxLength int               `json:"maxLength"`
	Dtype     string            `json:"dtype"`
	Date      string            `json:"date"`
	Batch     *TrainDPOMismatch `json:"batch,omitempty"`
}

// TrainDPOInit is what training starts from, which is then the reference too: the model as it is held, and an adapter on it.
type TrainDPOInit struct {
	Init           *Ref   `json:"init,omitempty" edge:"adapter" hone:"file"`
	Quantize       string `json:"quantize,omitempty"`
	DoubleQuantize *bool  `json:"doubleQuantize,omitempty"`
}

// TrainDPOMismatch is there for kto: see Mismatched.
type TrainDPOMismatch struct {
	Rows int `json:"rows"`
}

// ReferenceOf is the configuration of a train.dpo's NAME/reference; nil where the loss reads none.
func (t *TrainDPO) ReferenceOf() *TrainDPOReference {
	if t.ReferenceFree() {
		return nil
	}
	r := &TrainDPOReference{Model: t.Model, Data: t.Data, Reference: t.Reference, MaxLength: t.MaxLength, Dtype: t.Dtype, Date: t.Date}
	if t.Reference == nil && t.LoRA != nil && (t.LoRA.Init != nil || t.LoRA.Quantize != "") {
		r.LoRA = &TrainDPOInit{Init: t.LoRA.Init, Quantize: t.LoRA.Quantize}
		if t.LoRA.Quantize != "" {
			r.LoRA.DoubleQuantize = &t.LoRA.DoubleQuantize
		}
	}
	if t.Loss == KTO {
		r.Batch = &TrainDPOMismatch{t.Batch.Rows}
	}
	return r
}

// Mismatched is TrainDPO's.
func (t *TrainDPOReference) Mismatched() int {
	if t.Batch == nil {
		return 0
	}
	return t.Batch.Rows
}

// TrainGRPO is train.grpo. Batch.Rows counts prompts, each with Generations answers; MaxLength bounds a prompt.
type TrainGRPO struct {
	Training
	Rewards       map[string]WeightedGrader `json:"rewards"`
	Generations   int                       `json:"generations"`
	MaxNewTokens  int                       `json:"maxNewTokens"`
	Temperature   float64                   `json:"temperature"`
	TopP          float64                   `json:"topP"`
	TopK          int                       `json:"topK"`
	MinP          float64                   `json:"minP"`
	Loss          string                    `json:"loss"`  // grpo, bnpo, dr_grpo, dapo, cispo
	Ratio         string                    `json:"ratio"` // token, sequence
	Beta          float64                   `json:"beta"`
	Epsilon       float64                   `json:"epsilon"`
	EpsilonHigh   *float64                  `json:"epsilonHigh,omitempty"` // Epsilon when left out; see High
	Iterations    int                       `json:"iterations"`
	ScaleRewards  string                    `json:"scaleRewards"` // group, batch, none
	MaskTruncated bool                      `json:"maskTruncated"`
	Reference     *Edge                     `json:"reference,omitempty" edge:"model,adapter"` // read where Beta is above 0
	Eval          *Evaluation               `json:"eval,omitempty"`
	LoRA          *LoRA                     `json:"lora,omitempty"`
}

// High is how far the ratio may be above one; for cispo how large it may be.
func (t *TrainGRPO) High() float64 {
	if t.EpsilonHigh != nil {
		return *t.EpsilonHigh
	}
	return t.Epsilon
}

// ModelPretrain is model.pretrain: next-token training on the text column.
type ModelPretrain struct {
	Training
	Eval *Evaluation `json:"eval,omitempty"`
}

// ModelMerge is model.merge.
type ModelMerge struct {
	Model Edge `json:"model" edge:"adapter"`
}

// Sampling is how tokens are chosen; greedy when Temperature is absent.
type Sampling struct {
	Temperature       *float64 `json:"temperature,omitempty"`
	TopP              *float64 `json:"topP,omitempty"`
	TopK              *int     `json:"topK,omitempty"`
	MinP              *float64 `json:"minP,omitempty"`
	RepetitionPenalty *float64 `json:"repetitionPenalty,omitempty"`
	Seed              int64    `json:"seed"`
}

// Answering is how rows are answered.
type Answering struct {
	Sampling
	Data         Edge     `json:"data" edge:"dataset"`
	MaxNewTokens int      `json:"maxNewTokens"`
	Batch        int      `json:"batch"` // rows at once
	N            int      `json:"n"`     // completions a row
	System       string   `json:"system,omitempty"`
	Stop         []string `json:"stop,omitempty"`
	Date         string   `json:"date"` // YYYY-MM-DD, for templates that read the day
}

// Generate is generate.
type Generate struct {
	Answering
	Model Edge `json:"model" edge:"model,adapter"`
}

// CurateDistill is curate.distill.
type CurateDistill struct {
	Answering
	Teacher Edge `json:"teacher" edge:"model,adapter"`
}

// CurateReject is curate.reject.
type CurateReject struct {
	Answering
	Model   Edge                      `json:"model" edge:"model,adapter"`
	Graders map[string]WeightedGrader `json:"graders"`
	Minimum *float64                  `json:"minimum,omitempty"` // sum of a row's best below which the row is left out
}

// Grader scores a completion: exactly one of its fields is set.
type Grader struct {
	Exact      *Compare    `json:"exact,omitempty"`
	Contains   *Compare    `json:"contains,omitempty"`
	Regex      *Pattern    `json:"regex,omitempty"`
	Number     *Compare    `json:"number,omitempty"`
	JSONSchema *JSONSchema `json:"jsonSchema,omitempty"`
	SQL        *SQL        `json:"sql,omitempty"`
	CEL        *CEL        `json:"cel,omitempty"`
	Exec       *Program    `json:"exec,omitempty"`
}

// Reads is the column that a grader compares with, "" for the row's answer; false where it compares with nothing.
func (g Grader) Reads() (column string, compares bool) {
	switch {
	case g.Exact != nil:
		return g.Exact.Column, true
	case g.Contains != nil:
		return g.Contains.Column, true
	case g.Number != nil:
		return g.Number.Column, true
	case g.SQL != nil:
		return g.SQL.Column, true
	}
	return "", false
}

// Compare names the column that a grader compares with; the row's answer when it is empty.
type Compare struct {
	Column string `json:"column,omitempty"`
}

// Pattern is a regular expression in RE2's syntax.
type Pattern struct {
	Pattern string `json:"pattern"`
}

// JSONSchema is the grader jsonSchema.
type JSONSchema struct {
	Schema map[string]any `json:"schema"`
}

// SQL is the grader sql.
type SQL struct {
	Compare
	Database Ref `json:"database" edge:"files" hone:"file"` // an SQLite file, or an artifact that holds just one
}

// CEL is the grader cel.
type CEL struct {
	Expression string `json:"expression"`
}

// Program is the grader exec.
type Program struct {
	Command []string `json:"command"`
	Files   []string `json:"files,omitempty" hone:"file,named"`
}

// WeightedGrader is a grader whose score is one term of a sum.
type WeightedGrader struct {
	Grader
	Weight float64 `json:"weight"`
}

// Suite is one table of an eval: perplexity, or generation graded.
type Suite struct {
	Grader
	Data         Edge      `json:"data" edge:"dataset"`
	MaxNewTokens int       `json:"maxNewTokens,omitempty"` // graded suites alone
	System       string    `json:"system,omitempty"`
	Perplexity   *struct{} `json:"perplexity,omitempty"`
}

// Gate is what a suite must reach: Minimum and MaxDrop for scores, Maximum and MaxRise for perplexity.
type Gate struct {
	Minimum *float64 `json:"minimum,omitempty"`
	MaxDrop *float64 `json:"maxDrop,omitempty"` // absolute, against the baseline; negative demands a rise
	Maximum *float64 `json:"maximum,omitempty"`
	MaxRise *float64 `json:"maxRise,omitempty"` // relative, against the baseline
}

// Eval is eval. Compile turns Baseline into a stage of its own, NAME/baseline, whose report is the input "baseline".
type Eval struct {
	Model    Edge             `json:"model" edge:"model,adapter"`
	Baseline *Edge            `json:"baseline,omitempty" edge:"model,adapter"`
	Suites   map[string]Suite `json:"suites"`
	Gate     map[string]Gate  `json:"gate,omitempty" hone:"unkeyed"`
	Batch    int              `json:"batch"`
	Date     string           `json:"date"` // YYYY-MM-DD, for templates that read the day
}

// Export is export.
type Export struct {
	Model  Edge   `json:"model" edge:"model,adapter"`
	Format string `json:"format"`         // hf, peft, gguf
	Type   string `json:"type,omitempty"` // of gguf's matrices
}

// Exec is exec.
type Exec struct {
	Command []string           `json:"command"`
	Inputs  map[string]Edge    `json:"inputs,omitempty" edge:"model,adapter,dataset,report,files"`
	Files   []string           `json:"files,omitempty" hone:"file,named"`
	Env     map[string]string  `json:"env,omitempty"`
	Ports   map[string]ExecOut `json:"out"`
}

// ExecOut declares an out port of an exec stage.
type ExecOut struct {
	Kind string `json:"kind"` // dataset, model, report, files
}
