package schemas

import (
	"maps"
	"slices"
)

// VetTokenizer is the stage NAME/vet in the place of a model: Source is a folder of the files beside its weights.
type VetTokenizer struct {
	Source string `json:"source" hone:"file"`
}

// VetRows is the stage NAME/vet of a training whose model's tokenizer is not at hand: the fields of it, under their names there, that
// decide whether it reads its rows.
type VetRows struct {
	Kind    string     `json:"training"` // train.sft and so on
	Data    Edge       `json:"data" edge:"dataset"`
	Eval    *VetEval   `json:"eval,omitempty"`
	Against []Edge     `json:"against,omitempty" edge:"dataset"` // rows that are not to be trained on
	Suites  []VetSuite `json:"suites,omitempty"`                 // what reads these, by their index
	Loss    string     `json:"loss,omitempty"`                   // of train.sft; kto
	Reads   []string   `json:"reads,omitempty"`                  // columns that rewards compare with; "" is the answer
	Rows    int64      `json:"rows"`                             // so many of a dataset, spread over it; all where 0
}

// VetSuite is what suites of evals read of a row that is there to measure by; nothing of one that only the eval of a training reads.
type VetSuite struct {
	Taught bool     `json:"taught,omitempty"` // what a model is to say: its likelihood is measured
	Asked  bool     `json:"asked,omitempty"`  // a prompt, whose answer is graded
	Reads  []string `json:"reads,omitempty"`  // columns that graders compare with; "" is the answer
}

// Add adds what a suite reads.
func (v *VetSuite) Add(s *Suite) {
	if s.Perplexity != nil {
		v.Taught = true
		return
	}
	v.Asked = true
	if column, compares := s.Reads(); compares && !slices.Contains(v.Reads, column) {
		v.Reads = append(v.Reads, column)
	}
}

// VetData is the stage NAME/vet of a training: the fields of it that decide what its rows become.
type VetData struct {
	VetRows
	Model     Edge   `json:"model" edge:"model"`
	MaxLength int    `json:"maxLength"`
	Date      string `json:"date"`
}

// VetEval is the eval of a training.
type VetEval struct {
	Data Edge `json:"data" edge:"dataset"`
}

// VetDataOf is the configuration of a training stage's NAME/vet, without rows to compare with; nil where config is of no training.
func VetDataOf(config any) *VetData {
	of := func(kind string, t *Training, e *Evaluation) *VetData {
		v := &VetData{VetRows: VetRows{Kind: kind, Data: t.Data}, Model: t.Model, MaxLength: t.MaxLength, Date: t.Date}
		if e != nil {
			v.Eval = &VetEval{e.Data}
		}
		return v
	}
	switch c := config.(type) {
	case *TrainSFT:
		v := of("train.sft", &c.Training, c.Eval)
		v.Loss = c.Loss
		return v
	case *TrainDPO:
		v := of("train.dpo", &c.Training, c.Eval)
		if c.Loss == KTO {
			v.Loss = KTO
		}
		return v
	case *TrainGRPO:
		v := of("train.grpo", &c.Training, c.Eval)
		for _, name := range slices.Sorted(maps.Keys(c.Rewards)) {
			if column, compares := c.Rewards[name].Reads(); compares && !slices.Contains(v.Reads, column) {
				v.Reads = append(v.Reads, column)
			}
		}
		return v
	case *ModelPretrain:
		return of("model.pretrain", &c.Training, c.Eval)
	}
	return nil
}
