package model

import (
	"context"
	"os"
	"path/filepath"

	"github.com/hone-ml/hone/internal/chat"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/modeldir"
	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/internal/tensor"
	"github.com/hone-ml/hone/internal/train"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
	"github.com/hone-ml/hone/stages/data"
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
	rows, err := encodeFor(ctx, j, &c, "data")
	if err != nil {
		return err
	}
	rows.report(j, c.MaxLength)
	bins := binned(&c, rows.examples)
	if c.Packing {
		j.Log("packed into %d rows of at most %d tokens", len(bins), c.MaxLength)
	}

	m, store, err := openTrained(j, base, dtype, c.LoRA, &c.Training)
	if err != nil {
		return err
	}
	defer m.Free()
	m.Noise = c.NEFTuneAlpha
	f := likelihood(bins, c.Objective == "dft")
	if c.GroupByLength {
		f.lengths = train.Lengths(bins)
	}
	if c.Eval != nil {
		others, err := encodeFor(ctx, j, &c, "eval.data")
		if err != nil {
			return err
		}
		j.Log("evaluated on %d rows each %d steps", len(others.examples), c.Eval.Every)
		f.eval = held(c.Eval, binned(&c, others.examples), likely(c.Objective == "dft"))
	}
	if err := fit(ctx, j, &c.Training, m, store, f); err != nil {
		return err
	}
	return saveTrained(j, m, base, rows.template)
}

// encodeFor makes the rows of an input ready.
func encodeFor(ctx context.Context, j *stages.Job, c *schemas.TrainSFT, field string) (*made, error) {
	d, err := j.Dataset(field)
	if err != nil {
		return nil, stages.Errorf(field, "%w", err)
	}
	defer d.Close()
	if err := data.Wants("train.sft", d.Format, data.Taught...); err != nil {
		return nil, stages.Errorf(field, "%w", err)
	}
	loss := c.LossOf(string(d.Format))
	if err := data.Trains(loss, d.Format); err != nil {
		return nil, stages.Errorf("loss", "%w", err)
	}
	return encode(ctx, j, d, encoding{field: field, dir: j.In("model").Path, loss: loss, maxLength: c.MaxLength, date: c.Date})
}

// binned is examples as batch.rows counts them.
func binned(c *schemas.TrainSFT, examples []train.Example) [][]train.Example {
	if c.Packing {
		return train.Pack(examples, c.MaxLength)
	}
	return train.Unpacked(examples)
}

// openTrained opens the model to train, with an adapter where there is lora, and tells which weights move.
func openTrained(j *stages.Job, base job.Input, dtype tensor.Dtype, lora *schemas.LoRA, c *schemas.Training) (*model.Model, *nn.Store, error) {
	var m *model.Model
	var err error
	if lora == nil {
		m, err = model.Load(base.Path, dtype, true)
	} else {
		m, err = loadFrozen(base, dtype, lora.Quantize, lora.DoubleQuantize)
	}
	if err != nil {
		return nil, nil, stages.Errorf("model", "%w", err)
	}
	store := &m.Base
	if c.Freeze != nil {
		if err := m.Freeze(model.Freeze(*c.Freeze)); err != nil {
			m.Free()
			return nil, nil, stages.Errorf("freeze", "%w", err)
		}
	}
	if lora != nil {
		if err := adapt(j, m, lora, c.Seed); err != nil {
			m.Free()
			return nil, nil, stages.Errorf("lora", "%w", err)
		}
		store = &m.Adapter
	}
	j.Log("%d parameters, %d of them trained", m.Parameters(), m.Trained())
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
		err = m.Adapt(&model.LoRA{Rank: int64(l.Rank), Alpha: l.Alpha, Dropout: l.Dropout, RSLoRA: l.RSLoRA, DoRA: l.DoRA,
			AllLinear: l.Targets.AllLinear, Targets: l.Targets.Suffixes, Pattern: l.Targets.Pattern}, seed, true)
	} else {
		warnBase(j, initFolder(j, l.Init), j.In("model"))
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

// warnBase tells of an adapter that names another base than the model is, where both are named as on the hub: shapes may fit all the same.
func warnBase(j *stages.Job, adapter string, base job.Input) {
	config, err := modeldir.ReadObject(adapter, "adapter_config.json")
	if err != nil || config == nil {
		return // loading it says what is wrong
	}
	trained, _ := modeldir.BaseName(config, nil)
	is, _ := modeldir.BaseName(ordjson.New(), &base)
	if trained != "" && is != "" && trained != is {
		j.Warn("lora.init: its adapter_config.json names the base %s, and the model is %s", trained, is)
	}
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
