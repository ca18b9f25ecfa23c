package pipelines

import (
	"slices"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"

	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/schemas/jsonschema"
)

// A name from elsewhere leads to one field of a kind, and is not the name of another that stands where users write it.
func TestNamesFromElsewhere(t *testing.T) {
	v, err := jsonschema.Definitions(cuecontext.New())
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, kind := range schemas.Kinds() {
		def := v.LookupPath(cue.ParsePath("#Stages")).LookupPath(cue.MakePath(cue.Str(kind)))
		leads, top := map[string]string{}, []string{}
		var walk func(below string, def cue.Value)
		walk = func(below string, def cue.Value) {
			for _, f := range fieldsOf(def) {
				if below == "" {
					top = append(top, f.name)
				}
				for _, name := range elsewhere(f.value) {
					if leads[name] != "" {
						t.Errorf("%s: %s leads to %s and to %s", kind, name, leads[name], below+f.name)
					}
					leads[name] = below + f.name
				}
				walk(below+f.name+".", f.value)
			}
		}
		walk("", def)
		for name, field := range leads {
			if found++; slices.Contains(top, name) {
				t.Errorf("%s: %s, said to be %s elsewhere, is a field", kind, name, field)
			}
			if got := fieldCalled(def, name); got != field {
				t.Errorf("%s: %s leads to %q, not %s", kind, name, got, field)
			}
		}
	}
	if found < 150 {
		t.Errorf("only %d names", found)
	}
}
