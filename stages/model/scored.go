package model

import (
	"context"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/hone-ml/hone/internal/atomicfile"
	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/train"
	"github.com/hone-ml/hone/stages"
)

// keepScores is how often the scores so far are kept.
var keepScores = 2 * time.Minute

// scored is train.Score, each `of` examples being one row of a unit. The scores so far are kept in a file of that name every two
// minutes and when the stage is interrupted, which goes on behind them; passes are the same then, and so the bits.
func scored(ctx context.Context, j *stages.Job, m *model.Model, examples []train.Example, name, unit string, of int) ([]float64, error) {
	file := filepath.Join(j.Checkpoints, name+".f64")
	known := keptScores(file, len(examples))
	if len(known) > 0 {
		j.GoesOn("resumed behind %d of %d %s", len(known)/of, len(examples)/of, unit)
	}
	last := time.Now()
	return train.Score(m, examples, known, func(scores []float64) error {
		j.Progress(int64(len(scores)/of), int64(len(examples)/of), unit)
		if ctx.Err() == nil && time.Since(last) < keepScores {
			return nil
		}
		if err := os.MkdirAll(j.Checkpoints, 0o755); err != nil {
			return err
		}
		if err := atomicfile.Stream(file, 0o600, func(w io.Writer) error { return binary.Write(w, binary.LittleEndian, scores) }); err != nil {
			return err
		}
		last = time.Now()
		j.Checkpoint(int64(len(scores)/of), unit)
		return ctx.Err()
	})
}

// keptScores reads what an earlier attempt kept; nothing where that is no list of at most so many.
func keptScores(file string, most int) []float64 {
	b, err := os.ReadFile(file)
	if err != nil || len(b)%8 != 0 || len(b)/8 > most {
		return nil
	}
	scores := make([]float64, len(b)/8)
	if _, err := binary.Decode(b, binary.LittleEndian, scores); err != nil {
		return nil
	}
	return scores
}
