package train

import (
	"context"
	"os"
	"testing"

	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/optim"
	"github.com/hone-ml/hone/internal/tensor"
)

// A step whose loss is not read never waits for the device; the next that is read tells the sum.
func TestUnreadStepsDoNotWait(t *testing.T) {
	tensor.Lock()
	if _, err := tensor.Use("cuda", true); err != nil {
		t.Skip(err)
	}
	defer func() { _, _ = tensor.Use(os.Getenv("HONE_TEST_DEVICE"), true) }()
	if err := tensor.Records(); err != nil {
		t.Skip(err)
	}
	guard(t, func() {
		m, err := model.Load("testdata/toy", tensor.BFloat16, true)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Free()
		tr := newTrainer(t, m, &m.Base, optim.Config{Kind: "adamw", Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8}, 1)
		defer tr.Free()
		batch := examples([]goldenRow{{IDs: []int32{5, 9, 7, 8}, Trained: []int{0, 0, 1, 1}}, {IDs: []int32{4, 6, 3}, Trained: []int{0, 1, 1}}})
		step := func() Result {
			r, err := tr.Step(context.Background(), 1, func(int) (float64, error) { sums, err := tr.NLL(batch, 0.25, false); return sums.Loss, err }, 0)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		once := step().Loss
		tr.Unread = true
		tensor.WatchSyncs(true)
		for range 3 {
			if r := step(); r.Loss != 0 {
				t.Errorf("an unread step tells a loss of %g", r.Loss)
			}
		}
		tensor.WatchSyncs(false)
		tr.Unread = false
		if r := step(); r.Loss < 3.9*once || r.Loss > 4.1*once {
			t.Errorf("four steps of loss %g come to %g", once, r.Loss)
		}
	})
}
