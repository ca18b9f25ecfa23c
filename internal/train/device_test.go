package train

import (
	"context"
	"os"
	"testing"

	"github.com/hone-ml/hone/internal/loss"
	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/optim"
	"github.com/hone-ml/hone/internal/tensor"
)

// recorded does f with a trainer whose steps a device records, or skips the test.
func recorded(t *testing.T, f func(tr *Trainer)) {
	t.Helper()
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
		f(tr)
	})
}

// A step whose loss is not read never waits for the device; the next that is read tells the sum.
func TestUnreadStepsDoNotWait(t *testing.T) {
	recorded(t, func(tr *Trainer) {
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

// A step of pairs waits for the device once, for the log-likelihoods that its loss is a function of.
func TestPreferenceWaitsOnce(t *testing.T) {
	recorded(t, func(tr *Trainer) {
		prompt := []int32{5, 9, 7, 8, 4, 6}
		pairs := []Pair{{Chosen: answer(prompt, []int32{3, 7}, 64), Rejected: answer(prompt, []int32{6, 4, 9}, 64)}}
		var first float64
		for i := range 4 {
			tensor.WatchSyncs(i > 0)
			tr.Unread = i > 0
			r, err := tr.Step(context.Background(), 1, func(int) (float64, error) {
				value, _, err := tr.Preference(pairs, loss.Preference{Kind: "simpo", Beta: 2}, 1)
				return value, err
			}, 0)
			tensor.WatchSyncs(false)
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				first = r.Loss
			} else if r.Loss != first {
				t.Errorf("at a rate of zero losses are %g and %g", first, r.Loss)
			}
		}
	})
}
