package runner

import (
	"context"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/hone-ml/hone/pipelines"
)

// A worker that was ended with much memory took too much, most likely: which field takes less is said.
func TestKilledSaysWhatTakesLess(t *testing.T) {
	w := &worker{attempt: &attempt{stage: &pipelines.Stage{Kind: "train.sft", Config: []byte(`{"batch": {"rows": 8}, "maxLength": 512, "lora": {"quantize": "nf4"}}`)}}}
	_, err := w.verdict(context.Background(), exec.Command("sh", "-c", "kill -9 $$").Run(), "")
	want := `killed \(signal 9\)`
	if runtime.GOOS == "linux" {
		want += ` when it had taken [\d.]+ \wiB of [\d.]+ \wiB: by somebody, or by Linux where others had taken the memory$`
	}
	if err == nil || !regexp.MustCompile(want).MatchString(err.Error()) {
		t.Errorf("%v, want %s", err, want)
	}
	const less = "; less is taken with batch.rows below 8, with more batch.accumulate or maxLength below 512"
	if said := w.spare(20<<30, 23<<30); !strings.HasPrefix(said, " when it had taken 20.0 GiB of 23.0 GiB: ") || !strings.HasSuffix(said, " ends processes so when memory runs out"+less) {
		t.Error(said)
	}
}
