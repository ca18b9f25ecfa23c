package stages_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hone-ml/hone/stages"
	"github.com/hone-ml/hone/stages/stagetest"
)

// A process killed before its first checkpoint leaves lines of steps that the next one, which starts anew, logs again.
func TestMetricsStartAnew(t *testing.T) {
	j := stagetest.New(t, "model.merge", `{}`, map[string]string{})
	file := filepath.Join(j.Log, "metrics.jsonl")
	if err := os.WriteFile(file, []byte("{\"step\":1,\"loss\":9}\n{\"step\":2,\"loss\":9}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := stagetest.Run(context.Background(), t, j, func(_ context.Context, j *stages.Job) error {
		return j.Metric(1, map[string]float64{"loss": 3})
	})
	if r.Code != 0 {
		t.Fatalf("%+v", r.Last())
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(b); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"loss":3`) {
		t.Errorf("logged:\n%s", got)
	}
}
