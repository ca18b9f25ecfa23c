package data

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
	"github.com/hone-ml/hone/stages/stagetest"
)

// rowsOf is a dataset of JSON lines.
func rowsOf(t *testing.T, lines ...string) job.Input {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return job.Input{Kind: "dataset", Path: artifact(t, path)}
}

// overlaps compares data with what is there to measure by.
func overlaps(t *testing.T, data, against job.Input, all bool) (exact, near *job.Proof) {
	t.Helper()
	j := stagetest.New(t, schemas.Proof, "{}", map[string]string{"report": "report"})
	j.Inputs = map[string]job.Input{"data": data, "against[0]": against}
	r := stagetest.Run(t.Context(), t, j, func(ctx context.Context, j *stages.Job) error {
		proofs, err := Overlaps(ctx, j, 1, all)
		if err != nil {
			return err
		}
		exact, near = proofs[0], proofs[1]
		return (&job.Proofs{Proofs: proofs}).Write(j.Out("report"))
	})
	if r.Code != 0 {
		t.Fatalf("%+v", r.Last())
	}
	return exact, near
}

// A row that asks the same but for a word is told with the row that it is near to, once, and not among those that ask the same; one that
// asks something else in the same words is not.
func TestOverlapsNear(t *testing.T) {
	ask := func(format string, args ...any) string {
		return fmt.Sprintf(`{"prompt": %q, "completion": "x"}`, fmt.Sprintf(format, args...))
	}
	const long = "How many employees of each department %s more than the average salary of all departments in the same city and country?"
	data := rowsOf(t, ask("Which city is the largest of all?"), ask(long, "earn"), ask(long, "got"), ask("How many cities are there?"))
	against := rowsOf(t, ask(long, "make"), ask("how  many cities ARE there?"), ask("There are how many cities?"), ask(long, "earn"))
	exact, near := overlaps(t, data, against, false)
	if exact.State != job.Advice || exact.Rows != 2 || exact.Found[0].Row != 2 || exact.Found[0].Same != 4 {
		t.Errorf("exact: %+v", exact)
	}
	if near.State != job.Advice || near.Message != "besides those, 1 of 2 rows (50%) nearly ask what is trained on" || len(near.Found) != 1 ||
		near.Found[0].Row != 1 || near.Found[0].Same != 2 || near.Found[0].Message != "alike by 0.73" {
		t.Errorf("near: %+v, %+v", near, near.Found)
	}
	if _, near = overlaps(t, against, rowsOf(t, ask("What is the weather?")), true); near.State != job.Proven || near.Rows != 0 {
		t.Errorf("near: %+v", near)
	}
}

// Of more rows to measure by than are held in memory a sample is compared, and that is said.
func TestOverlapsNearOfMany(t *testing.T) {
	lines := make([]string, nearMeasured+1)
	for i := range lines {
		lines[i] = fmt.Sprintf(`{"text": "%d"}`, i)
	}
	_, near := overlaps(t, rowsOf(t, `{"text": "none"}`), rowsOf(t, lines...), false)
	if near.Of != nearMeasured || near.Message != "none of 20000 rows nearly asks what is trained on; of 20001, a sample" {
		t.Errorf("near: %+v", near)
	}
}
