package model

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/tensor"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages/stagetest"
)

// on does f with tensors on a device, and skips the test where it is not there.
func on(t *testing.T, device string, f func()) {
	t.Helper()
	tensor.Lock()
	if _, err := tensor.Use(device, true); err != nil {
		t.Skip(err)
	}
	defer func() { _, _ = tensor.Use(os.Getenv("HONE_TEST_DEVICE"), true) }()
	f()
}

// wide is a fresh model whose heads a device's attention takes.
func wide(t *testing.T) job.Input {
	t.Helper()
	j := stagetest.New(t, "model.load", `{"seed": 3, "dtype": "auto", "tokenizer": "x", "config": {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
		"num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512, "tie_word_embeddings": true,
		"initializer_range": 0.1}}`, map[string]string{"model": "model"})
	j.Files["tokenizer"] = toy(t).Path
	do(t, j)
	return job.Input{Kind: "model", Path: j.Out["model"].Path}
}

// A device follows the processor: loss and gradient norm of each step within 1e-3 in float32, and within 1% in bfloat16, whose
// steps are recorded.
func TestDeviceFollowsProcessor(t *testing.T) {
	var records error
	on(t, "cuda", func() { records = tensor.Records() }) // before anything costs time
	if records != nil {
		t.Log(records)
	}
	model, data := wide(t), rows(t, filepath.Join(trainData, "turns.jsonl"))
	for name, change := range map[string]func(*schemas.TrainSFT){
		"full":       func(c *schemas.TrainSFT) {},
		"packed":     func(c *schemas.TrainSFT) { c.Packing, c.MaxLength = true, 96 },
		"accumulate": func(c *schemas.TrainSFT) { c.Batch = schemas.Batch{Rows: 2, Accumulate: 2} },
		"recomputed": func(c *schemas.TrainSFT) { c.GradientCheckpointing = true },
		"lora": func(c *schemas.TrainSFT) {
			c.LearningRate = 2e-3 // faster, its norm in bfloat16 strays from step to step
			c.LoRA = &schemas.LoRA{Rank: 8, Alpha: 16, Targets: schemas.Targets{AllLinear: true}}
		},
	} {
		for dtype, bound := range map[string]float64{"float32": 1e-3, "bfloat16": 1e-2} {
			t.Run(name+"/"+dtype, func(t *testing.T) {
				train := func(device string) (losses, norms []float64) {
					on(t, device, func() {
						j := stagetest.New(t, "train.sft", sftConfig(func(c *schemas.TrainSFT) {
							c.LearningRate = 2e-3
							change(c)
							c.Dtype, c.Loss = dtype, "assistant"
						}), map[string]string{"model": "model"})
						j.Inputs["model"], j.Inputs["data"], j.Device = model, data, device
						r := do(t, j)
						losses, norms = logged(r, "loss"), logged(r, "grad_norm")
					})
					return losses, norms
				}
				wantLosses, wantNorms := train("cpu")
				before := tensor.Replays
				gotLosses, gotNorms := train("cuda")
				worst := 0.0
				for i, w := range slices.Concat(wantLosses, wantNorms) {
					worst = max(worst, math.Abs(slices.Concat(gotLosses, gotNorms)[i]-w)/w)
				}
				t.Logf("within %.1e of the processor; losses %.4f to %.4f", worst, wantLosses[0], wantLosses[len(wantLosses)-1])
				if last := wantLosses[len(wantLosses)-1]; name != "lora" && last > wantLosses[0]*2/3 || last > wantLosses[0]*0.98 {
					t.Errorf("losses %.4f do not fall", wantLosses)
				}
				if dtype == "bfloat16" && records == nil && tensor.Replays == before {
					t.Error("no step was recorded")
				}
				if !(worst <= bound) {
					t.Errorf("%.1e apart:\nlosses %.4f\nwant   %.4f\nnorms  %.4f\nwant   %.4f", worst, gotLosses, wantLosses, gotNorms, wantNorms)
				}
			})
		}
	}
}

// On a device too a training repeats bit for bit, and one that is taken up again makes the same bytes.
func TestDeviceRepeats(t *testing.T) {
	on(t, "cuda", func() {
		model, data := wide(t), rows(t, filepath.Join(trainData, "turns.jsonl"))
		weights := func(steps ...int64) []byte {
			j := stagetest.New(t, "train.sft", sftConfig(func(c *schemas.TrainSFT) { c.Loss = "assistant" }), map[string]string{"model": "model"})
			j.Inputs["model"], j.Inputs["data"], j.Device = model, data, "cuda"
			for _, n := range steps {
				j.Config = []byte(sftConfig(func(c *schemas.TrainSFT) { c.Loss, c.MaxSteps, c.SaveEvery = "assistant", &n, 1 }))
				do(t, j)
			}
			b, err := os.ReadFile(filepath.Join(j.Out["model"].Path, "model.safetensors"))
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		whole := weights(12)
		if !slices.Equal(whole, weights(12)) {
			t.Error("a second training made other bytes")
		}
		if !slices.Equal(whole, weights(5, 12)) {
			t.Error("a training taken up after 5 steps made other bytes")
		}
	})
}
