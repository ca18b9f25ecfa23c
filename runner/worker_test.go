package runner

import (
	"context"
	"os/exec"
	"regexp"
	"runtime"
	"testing"

	"github.com/hone-ml/hone/pipelines"
)

// A worker that the system has ended took too much memory, most likely: which field takes less is said.
func TestKilledSaysWhatTakesLess(t *testing.T) {
	w := &worker{attempt: &attempt{stage: &pipelines.Stage{Kind: "train.sft", Config: []byte(`{"batch": {"rows": 8}, "maxLength": 512, "lora": {"quantize": "nf4"}}`)}}}
	_, err := w.verdict(context.Background(), exec.Command("sh", "-c", "kill -9 $$").Run(), "")
	want := `: \w+ ends processes so when memory runs out; less is taken with batch\.rows below 8, with more batch\.accumulate or maxLength below 512$`
	if runtime.GOOS == "linux" {
		want = `killed \(signal 9\) when it had taken [\d.]+ \wiB of [\d.]+ \wiB` + want
	}
	if err == nil || !regexp.MustCompile(want).MatchString(err.Error()) {
		t.Errorf("%v, want %s", err, want)
	}
}
