package model

import (
	"strings"
	"testing"
)

// A generation_config.json that cannot be is refused with its name and the value.
func TestGenerationConfigsRefused(t *testing.T) {
	for source, want := range map[string]string{
		`{"repetition_penalty": -1}`:  "generation_config.json: repetition_penalty: a number above 0 is wanted, not -1",
		`{"repetition_penalty": "x"}`: `generation_config.json: repetition_penalty: a number above 0 is wanted, not "x"`,
		`{"eos_token_id": ["x"]}`:     `generation_config.json: eos_token_id: a token's id is wanted, not "x"`,
	} {
		dir := t.TempDir()
		write(t, dir, "generation_config.json", source)
		_, err := repetitionPenalty(dir)
		if err == nil {
			err = alsoEnds(map[int32]bool{}, dir)
		}
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", source, err, want)
		}
	}
	dir := t.TempDir()
	for source, want := range map[string]float64{`{}`: 0, `{"repetition_penalty": null}`: 0, `{"repetition_penalty": 1.5}`: 1.5} {
		write(t, dir, "generation_config.json", source)
		if penalty, err := repetitionPenalty(dir); err != nil || penalty != want {
			t.Errorf("%s: %g, %v", source, penalty, err)
		}
	}
}
