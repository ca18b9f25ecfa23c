package schemas

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
)

// A kind's implementation version counts changes of the bytes that it makes of the same ingredients. It is in every
// key, so that what an older hone made is not taken for what this one would make. Dependencies are covered by it: an
// update that changes a kind's bytes raises it. It stands here since neither runner nor stages may import the other.
var kinds = map[string]struct {
	implementation int
	config         reflect.Type
}{
	"model.load":     {1, reflect.TypeFor[ModelLoad]()},
	"model.pretrain": {7, reflect.TypeFor[ModelPretrain]()},
	"template.set":   {1, reflect.TypeFor[TemplateSet]()},
	"data.load":      {3, reflect.TypeFor[DataLoad]()},
	"curate.filter":  {2, reflect.TypeFor[CurateFilter]()},
	"curate.split":   {1, reflect.TypeFor[CurateSplit]()},
	"curate.mix":     {1, reflect.TypeFor[CurateMix]()},
	"curate.distill": {4, reflect.TypeFor[CurateDistill]()},
	"curate.reject":  {4, reflect.TypeFor[CurateReject]()},
	"train.sft":      {8, reflect.TypeFor[TrainSFT]()},
	"train.dpo":      {7, reflect.TypeFor[TrainDPO]()},
	Reference:        {6, reflect.TypeFor[TrainDPOReference]()},
	"train.grpo":     {7, reflect.TypeFor[TrainGRPO]()},
	"model.merge":    {1, reflect.TypeFor[ModelMerge]()},
	"generate":       {4, reflect.TypeFor[Generate]()},
	"eval":           {7, reflect.TypeFor[Eval]()},
	"export":         {1, reflect.TypeFor[Export]()},
	"exec":           {1, reflect.TypeFor[Exec]()},
	Tokenizer:        {1, reflect.TypeFor[VetTokenizer]()},
	Proof:            {3, reflect.TypeFor[VetData]()},
	RowsProof:        {2, reflect.TypeFor[VetRows]()},
}

// NamePattern is #Name: what a stage, port, part, input or suite may be called.
const NamePattern = `^[A-Za-z0-9_][A-Za-z0-9_.+-]*$`

// Reference is the kind of NAME/reference and NAME/eval.reference, the stages that Compile puts before a train.dpo. No pipeline can name it.
const Reference = "train.dpo.reference"

// Kinds of the stages NAME/vet that `hone vet --data` adds (pipelines.Vet): the tokenizer, template and configuration of a model
// without its weights, the proof that the rows of a training reach its loss, and what of it needs no tokenizer. No pipeline can name them.
const (
	Tokenizer = "vet.tokenizer"
	Proof     = "vet.data"
	RowsProof = "vet.rows"
)

// Computes says whether a kind's work is tensors, for which a device is worth starting.
func Computes(kind string) bool {
	switch kind {
	case "model.pretrain", "train.sft", "train.dpo", Reference, "train.grpo", "generate", "curate.distill", "curate.reject", "eval":
		return true
	}
	return false
}

// Kinds lists the stage kinds that a pipeline can name, sorted.
func Kinds() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(kinds)), func(kind string) bool {
		return kind == Reference || kind == Tokenizer || kind == Proof || kind == RowsProof
	})
}

// Implementation is the version of a kind, from 1; 0 for a kind that does not exist.
func Implementation(kind string) int { return kinds[kind].implementation }

// Decode reads a stage's configuration, defaults filled, into its kind's type: a *TrainSFT for train.sft, and so on.
// A field that the type lacks is an error.
func Decode(kind string, config []byte) (any, error) {
	k, ok := kinds[kind]
	if !ok {
		return nil, fmt.Errorf("unknown kind %q", kind)
	}
	v := reflect.New(k.config).Interface()
	if err := strict(config, v); err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	return v, nil
}

func strict(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("more than one JSON value")
	}
	return nil
}
