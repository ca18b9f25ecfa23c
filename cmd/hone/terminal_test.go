package main

import (
	"strings"
	"testing"
	"time"
)

func TestRowFits(t *testing.T) {
	r := &row{
		name: "tune", began: time.Now().Add(-time.Minute), done: 112, total: 400, unit: "steps",
		first: 0, firstAt: time.Now().Add(-56 * time.Second), values: map[string]float64{"loss": 1.23456}, rate: 8120,
	}
	for columns, want := range map[int]string{
		100: "  tune    ━━━━━━━━──────────────────────  112/400 steps  loss 1.2346  8,120 tokens/s  2m24s left",
		79:  "  tune    ━━━──────────  112/400 steps  loss 1.2346  8,120 tokens/s  2m24s left",
		50:  "  tune    ━━━──────────  112/400 steps  2m24s left",
		30:  "  tune    ━━──────  2m24s left",
		12:  "  tune    2m24s left"[:12],
	} {
		got := r.line(6, columns)
		if len([]rune(got)) > columns {
			t.Errorf("%d columns: %q has %d", columns, got, len([]rune(got)))
		}
		if got != want {
			t.Errorf("%d columns:\n%s, want\n%s", columns, got, want)
		}
	}
	r.values = map[string]float64{"loss": 0.5, "rewards/accuracies": 0.75, "rewards/margins": 1}
	if got, want := r.line(6, 100), "  tune    ━━━━───────────  112/400 steps  loss 0.5000  accuracies 0.7500  8,120 tokens/s  2m24s left"; got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	r.values = map[string]float64{"loss": -0.01, "reward": 0.4375}
	if got, want := r.line(6, 79), "  tune    ━━━──────────  112/400 steps  reward 0.4375  loss -0.0100  2m24s left"; got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	bare := &row{name: strings.Repeat("long-name-", 5), began: time.Now().Add(-3 * time.Second), done: 12345, unit: "rows"}
	if got, want := bare.line(24, 79), "  long-name-long-name-lon…  12,345 rows  3.0s"; got != want {
		t.Errorf("got %q want %q", got, want)
	}
}
