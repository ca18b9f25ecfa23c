package main

import (
	"encoding/json"
	"strings"
	"testing"
)

const grpoLine = `{"step":10,"epoch":0.0625,"loss":-0.012345678,"learning_rate":9.9e-07,"grad_norm":0.87654321,"tokens":52345,"time":1790000000.5,` +
	`"clip_ratio/high_max":0,"completions/clipped_ratio":0.125,"completions/max_length":48,"completions/mean_length":23.5,"entropy":1.2345678,` +
	`"frac_reward_zero_std":0.25,"reward":0.4375,"reward_std":0.3123456,"rewards/right/mean":0.4375,"rewards/right/std":0.31,"tokens_per_second":812.345}`

func logged(t *testing.T, chosen []string, lines ...string) (string, error) {
	t.Helper()
	var b strings.Builder
	var raw []json.RawMessage
	for _, line := range lines {
		raw = append(raw, json.RawMessage(line))
	}
	err := printMetrics(&b, raw, chosen)
	return b.String(), err
}

// A table keeps to 80 columns where it goes to no terminal: the columns that say most, and the names of the others.
func TestLogFits(t *testing.T) {
	got, err := logged(t, nil, grpoLine, `{"step":20,"loss":null,"reward":0.5,"kl":0.01}`)
	if err != nil {
		t.Fatal(err)
	}
	want := `  step  reward       loss  reward_std  frac_reward_zero_std    kl   epoch
    10  0.4375  -0.012346     0.31235                  0.25     –  0.0625
    20     0.5          –           –                     –  0.01       –

not shown: learning_rate, grad_norm, completions/mean_length,
  completions/clipped_ratio, entropy, tokens, tokens_per_second,
  clip_ratio/high_max, completions/max_length, rewards/right/mean,
  rewards/right/std (--columns NAMES, or all)
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for line := range strings.Lines(got) {
		if n := len([]rune(line)) - 1; n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

func TestLogColumns(t *testing.T) {
	got, err := logged(t, []string{"rewards/right/mean", "entropy"}, grpoLine)
	if want := "  step  rewards/right/mean  entropy\n    10              0.4375   1.2346\n"; err != nil || got != want {
		t.Errorf("%v, got\n%s\nwant\n%s", err, got, want)
	}
	if got, err = logged(t, []string{"all"}, grpoLine); err != nil || strings.Contains(got, "not shown") || !strings.Contains(got, "rewards/right/std") {
		t.Errorf("%v, got\n%s", err, got)
	}
	if _, err = logged(t, []string{"entropie"}, grpoLine); err == nil || exitCode(err) != exitUsage || !strings.Contains(err.Error(), "entropy") {
		t.Errorf("a column that is not there: %v", err)
	}
}
