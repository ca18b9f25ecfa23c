package model

import (
	"context"
	"encoding/binary"
	"math"
	"path/filepath"
	"slices"

	"github.com/hone-ml/hone/internal/safetensors"
	"github.com/hone-ml/hone/internal/train"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// referenceFile holds, in the order of the rows: row (int64, the row's number in the dataset) and the log-likelihoods (float64,
// summed over the completion) of chosen and rejected answers, or of the completion and the other one for kto.
const referenceFile = "logps.safetensors"

// Reference is train.dpo.reference: what the model that train.dpo is held to says of every answer. It is the stage's own model as
// it starts, quantised where it is trained so and with the adapter of lora.init where there is one, unless `reference` names another.
func Reference(ctx context.Context, j *stages.Job) error {
	var c schemas.TrainDPOReference
	if err := j.Decode(&c); err != nil {
		return err
	}
	dtype, err := computeDtype(c.Dtype)
	if err != nil {
		return stages.Errorf("dtype", "%w", err)
	}
	rows, err := readPreferences(ctx, j, "data", j.In("model").Path, c.MaxLength, c.Date, c.Mismatched())
	if err != nil {
		return err
	}
	rows.report(j, c.MaxLength)
	field := "model"
	if c.Reference != nil {
		field = "reference"
	}
	var start schemas.TrainDPOInit
	if c.LoRA != nil {
		start = *c.LoRA
	}
	m, err := loadFrozen(j.In(field), dtype, start.Quantize, start.DoubleQuantize != nil && *start.DoubleQuantize)
	if err != nil {
		return stages.Errorf(field, "%w", err)
	}
	defer m.Free()
	if start.Init != nil {
		warnBase(j, initFolder(j, start.Init), j.In(field))
		if err := m.LoadAdapter(initFolder(j, start.Init), false); err != nil {
			return stages.Errorf("lora.init", "%w", err)
		}
	}
	names, answers := rows.answers()
	examples := make([]train.Example, len(answers))
	for i, a := range answers {
		examples[i] = a.Example
	}
	scores, err := scored(ctx, j, m, examples, "scores", "rows", 2)
	if err != nil {
		return err
	}
	n := len(scores) / 2
	numbers, first, second := make([]byte, 8*n), make([]byte, 8*n), make([]byte, 8*n)
	for i := range n {
		binary.LittleEndian.PutUint64(numbers[8*i:], uint64(answers[2*i].Row))
		binary.LittleEndian.PutUint64(first[8*i:], math.Float64bits(scores[2*i]))
		binary.LittleEndian.PutUint64(second[8*i:], math.Float64bits(scores[2*i+1]))
	}
	shape := []int64{int64(n)}
	return safetensors.Write(filepath.Join(j.Out("logps"), referenceFile), []safetensors.Tensor{
		{Name: "row", Dtype: safetensors.I64, Shape: shape, Data: numbers},
		{Name: names[0], Dtype: safetensors.F64, Shape: shape, Data: first},
		{Name: names[1], Dtype: safetensors.F64, Shape: shape, Data: second},
	}, nil)
}

// refer fills in what the reference said of the answers.
func (p *preferences) refer(dir string) error {
	path := filepath.Join(dir, referenceFile)
	f, err := safetensors.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	names, answers := p.answers()
	columns := make([][]byte, 3)
	for i, name := range []string{"row", names[0], names[1]} {
		t, ok := f.Tensor(name)
		if want := []int64{int64(len(answers) / 2)}; !ok || !slices.Equal(t.Shape, want) || len(t.Data) != 4*len(answers) {
			return stages.Errorf(path, "%s: %d numbers are wanted, %v are there", name, want[0], t.Shape)
		}
		columns[i] = t.Data
	}
	for i, a := range answers {
		if row := int64(binary.LittleEndian.Uint64(columns[0][i/2*8:])); row != a.Row {
			return stages.Errorf(path, "row %d stands where row %d is wanted", row, a.Row)
		}
		a.Reference = math.Float64frombits(binary.LittleEndian.Uint64(columns[1+i%2][i/2*8:]))
	}
	return nil
}
