package model

import (
	"context"
	"strings"
	"testing"

	"github.com/hone-ml/hone/internal/tensor"
	"github.com/hone-ml/hone/stages"
	"github.com/hone-ml/hone/stages/stagetest"
)

// Where memory is short a stage's error says what it takes, and which field takes less, at that field.
func TestOutOfMemorySaysWhatTakesLess(t *testing.T) {
	tensor.Lock()
	j := stagetest.New(t, "train.sft", sftConfig(nil), map[string]string{"model": "model"})
	r := stagetest.Run(context.Background(), t, j, guarded(func(context.Context, *stages.Job) error {
		tensor.Empty(tensor.Float32, 1<<46)
		return nil
	}))
	e := r.Last()
	if r.Code != 1 || e.Path != "batch.rows" || !strings.Contains(e.Message, "empty: out of memory: it takes ") ||
		!strings.Contains(e.Message, "less is taken with batch.rows below 4, with more batch.accumulate, gradientCheckpointing: true, maxLength below 512 or lora") {
		t.Errorf("exit %d: %s: %s", r.Code, e.Path, e.Message)
	}
}
