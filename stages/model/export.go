package model

import (
	"context"

	"github.com/hone-ml/hone/internal/modeldir"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// Export is export: a model as a Hugging Face folder, or an adapter as a PEFT folder. Weights are linked: they are the
// same bytes.
func Export(ctx context.Context, j *stages.Job) error {
	var c schemas.Export
	if err := j.Decode(&c); err != nil {
		return err
	}
	return modeldir.Export(ctx, j.Out("files"), j.In("model"), c.Format, modeldir.Link)
}
