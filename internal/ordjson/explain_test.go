package ordjson

import (
	"encoding/json"
	jsonv2 "encoding/json/v2"
	"errors"
	"strings"
	"testing"
)

// What is wrong with JSON is said with its own names by both of Go's packages.
func TestExplain(t *testing.T) {
	type rope struct {
		Factor float64 `json:"factor"`
	}
	type file struct {
		Hidden int64            `json:"hidden_size"`
		Tie    bool             `json:"tie_word_embeddings"`
		Types  []string         `json:"layer_types"`
		Rope   *rope            `json:"rope_scaling"`
		Ranks  map[string]int64 `json:"rank_pattern"`
	}
	for source, want := range map[string]string{
		`{"hidden_size": "x"}`:             `hidden_size: a number is wanted, not "x"`,
		`{"hidden_size": 1.5}`:             `hidden_size: a whole number in range is wanted, not 1.5`,
		`{"tie_word_embeddings": {}}`:      `tie_word_embeddings: true or false is wanted, not an object`,
		`{"layer_types": ["a", 3]}`:        `layer_types[1]: text is wanted, not 3`,
		`{"layer_types": 3}`:               `layer_types: a list is wanted, not 3`,
		`{"rope_scaling": "x"}`:            `rope_scaling: an object is wanted, not "x"`,
		`{"rope_scaling": {"factor": []}}`: `rope_scaling.factor: a number is wanted, not a list`,
		`{"rank_pattern": {"a.b": "` + strings.Repeat("é", 40) + `"}}`: `rank_pattern.a.b: a number is wanted, not "` + strings.Repeat("é", 19) + `…`,
		`[]`: `an object is wanted, not a list`,
		`{"`: `JSON ends in the middle of a value`,
	} {
		for name, unmarshal := range map[string]func([]byte, any) error{
			"v1": json.Unmarshal, "v2": func(b []byte, v any) error { return jsonv2.Unmarshal(b, v) },
		} {
			err := Explain([]byte(source), unmarshal([]byte(source), new(file)))
			if err == nil || err.Error() != want {
				t.Errorf("%s by %s: %v, want %s", source, name, err, want)
			}
		}
	}
	if other := errors.New("other"); !errors.Is(Explain([]byte("{}"), other), other) || Explain([]byte("{}"), nil) != nil {
		t.Error("an error of another kind changed")
	}
}
