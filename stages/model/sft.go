package model

import (
	"context"
	"os"
	"path/filepath"

	"github.com/hone-ml/hone/internal/chat"
	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/modeldir"
	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/internal/tensor"
	"github.com/hone-ml/hone/internal/train"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// TrainSFT is train.sft: next-token training on the tokens that the loss names, of the whole model or of an adapter.
func TrainSFT(ctx context.Context, j *stages.Job) error {
	var c schemas.TrainSFT
	if err := j.Decode(&c); err != nil {
		return err
	}
	base := j.In("model")
	dtype, err := computeDtype(c.Dtype)
	if err != nil {
		return stages.Errorf("dtype", "%w", err)
	}
	d, err := dataset.Open(j.In("data").Path)
	if err != nil {
		return stages.Errorf("data", "%w", err)
	}
	defer d.Close()
	if err := wants("train.sft", d.Format, taught...); err != nil {
		return stages.Errorf("data", "%w", err)
	}
	rows, err := encode(ctx, j, d, encoding{field: "data", dir: base.Path, loss: c.LossOf(string(d.Format)), maxLength: c.MaxLength, date: c.Date})
	if err != nil {
		return err
	}
	rows.report(j, c.MaxLength)
	bins := train.Unpacked(rows.examples)
	if c.Packing {
		bins = train.Pack(rows.examples, c.MaxLength)
		j.Log("packed into %d rows of at most %d tokens", len(bins), c.MaxLength)
	}

	m, store, err := openTrained(j, base, dtype, c.LoRA, c.Seed)
	if err != nil {
		return err
	}
	defer m.Free()
	if err := fit(ctx, j, &c.Training, m, store, likelihood(bins)); err != nil {
		return err
	}
	return saveTrained(j, m, base, rows.template)
}

// openTrained opens the model to train, with an adapter where there is lora, and tells which weights move.
func openTrained(j *stages.Job, base job.Input, dtype tensor.Dtype, lora *schemas.LoRA, seed int64) (*model.Model, *nn.Store, error) {
	m, err := model.Load(base.Path, dtype, lora == nil)
	if err != nil {
		return nil, nil, stages.Errorf("model", "%w", err)
	}
	store := &m.Base
	if lora != nil {
		if err := adapt(j, m, lora, seed); err != nil {
			m.Free()
			return nil, nil, stages.Errorf("lora", "%w", err)
		}
		store = &m.Adapter
	}
	j.Log("%d parameters, %d of them trained", m.Parameters(), trainable(m))
	return m, store, nil
}

// saveTrained writes the port model: an adapter where the model has one, else all weights with the files and the template beside them.
func saveTrained(j *stages.Job, m *model.Model, base job.Input, t *chat.Template) error {
	out := j.Out("model")
	if m.LoRA != nil {
		name, err := modeldir.BaseName(ordjson.New(), &base)
		if err != nil {
			return err
		}
		return m.SaveAdapter(out, name)
	}
	if err := m.Save(out, base.Path, tensor.Float32); err != nil {
		return err
	}
	return keepTemplate(out, t)
}

// adapt puts a fresh adapter on m, or the one to start from.
func adapt(j *stages.Job, m *model.Model, l *schemas.LoRA, seed int64) error {
	var err error
	if l.Init == nil {
		err = m.Adapt(&model.LoRA{Rank: int64(l.Rank), Alpha: l.Alpha, Dropout: l.Dropout, RSLoRA: l.RSLoRA,
			AllLinear: l.Targets.AllLinear, Targets: l.Targets.Suffixes}, seed, true)
	} else {
		err = m.LoadAdapterAs(initFolder(j, l.Init), l.Dropout, true)
	}
	if err == nil && l.LearningRateRatio != nil {
		m.LearnB(*l.LearningRateRatio)
	}
	return err
}

// initFolder is where the adapter to start from lies.
func initFolder(j *stages.Job, init *schemas.Ref) string {
	if init.Edge != nil {
		return j.In("lora.init").Path
	}
	return j.File("lora.init")
}

func trainable(m *model.Model) int64 {
	if m.LoRA != nil {
		return m.AdapterParameters()
	}
	return m.Parameters()
}

// keepTemplate writes the template that the model was trained with where it had none of its own.
func keepTemplate(out string, t *chat.Template) error {
	if !t.Substituted {
		return nil
	}
	return os.WriteFile(filepath.Join(out, "chat_template.jinja"), []byte(t.Source), 0o644)
}

func exists(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}
