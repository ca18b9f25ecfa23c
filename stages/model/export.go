package model

import (
	"context"

	"github.com/hone-ml/hone/internal/modeldir"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// Export is export: a model as a Hugging Face folder or a GGUF file, an adapter as a PEFT folder. Weights of folders are
// linked: they are the same bytes.
func Export(ctx context.Context, j *stages.Job) error {
	var c schemas.Export
	if err := j.Decode(&c); err != nil {
		return err
	}
	e := modeldir.Export{Format: c.Format, Type: c.Type, Place: modeldir.Link, Warn: j.Warn, Progress: func(done, total int64) { j.Progress(done, total, "bytes") }}
	return e.Write(ctx, j.Out("files"), j.In("model"))
}
