package runner

import (
	"encoding/json"
	"slices"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner/store"
)

// Recorded is the record of a stage's last run with the configuration that it has, and what the files that the stage names hashed to
// then, by field: for a stage of the past whose files are not in git. Nil where records, the oldest first, have no such run of the
// pipeline's stage.
func Recorded(g *pipelines.Graph, s *pipelines.Stage, records []*store.Record) (*store.Record, map[string]string) {
	config, err := ingredients(s, nil, nil)
	if err != nil {
		return nil, nil
	}
	for _, rec := range slices.Backward(records) {
		if rec.Pipeline != g.Name || rec.Stage != s.Name || rec.Kind != s.Kind || !sameConfig(rec.Ingredients, config) {
			continue
		}
		hashes := map[string]string{}
		for _, in := range rec.Ingredients {
			var hash string
			if in.From == "source" && json.Unmarshal(in.Value, &hash) == nil {
				hashes[in.Field] = hash
			}
		}
		return rec, hashes
	}
	return nil, nil
}
