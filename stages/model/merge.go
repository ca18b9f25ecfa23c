package model

import (
	"context"

	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/tensor"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// Merge is model.merge: W + scale·B·A for every adapted layer, in float32, as PEFT's merge_and_unload.
func Merge(_ context.Context, j *stages.Job) error {
	var c schemas.ModelMerge
	if err := j.Decode(&c); err != nil {
		return err
	}
	adapter := j.In("model")
	if adapter.Base == nil {
		return stages.Errorf("model", "not an adapter: there is nothing to merge")
	}
	m, err := loadModel(adapter, tensor.Float32)
	if err != nil {
		return stages.Errorf("model", "%w", err)
	}
	defer m.Free()
	m.Merge()
	dtype, err := model.ParseDtype(m.Config.Dtype) // a base in bfloat16 stays one
	if err != nil {
		dtype = tensor.Float32
	}
	return m.Save(j.Out("model"), adapter.Base.Path, dtype)
}
