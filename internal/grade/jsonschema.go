package grade

import (
	"context"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/schemas"
)

func newJSONSchema(g *schemas.JSONSchema) (*Grader, error) {
	schema, err := compileSchema(g.Schema)
	if err != nil {
		return nil, fmt.Errorf("jsonSchema: %w", err)
	}
	return &Grader{score: func(_ context.Context, c Completion, _ string) (float64, error) {
		return truth(validJSON(schema, fenced(c.Text))), nil
	}}, nil
}

// place is the schema's own address, for messages alone.
const place = "schema:///"

// nothing is what lies outside a schema: a $ref to a file or to the network is an error, so that neither is read.
type nothing struct{}

func (nothing) Load(url string) (any, error) {
	return nil, fmt.Errorf("a $ref leads outside the schema, to %s", url)
}

// compileSchema checks a schema of drafts 4 to 2020-12. A $ref may lead to places in the schema itself and to the published
// meta-schemas.
func compileSchema(schema map[string]any) (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.UseLoader(nothing{})
	if err := c.AddResource(place, any(schema)); err != nil {
		return nil, plain(err)
	}
	s, err := c.Compile(place)
	if err != nil {
		return nil, plain(err)
	}
	return s, nil
}

// plain is an error of the library's in a line, without the address that the schema has here.
func plain(err error) error {
	return fmt.Errorf("%s", strings.ReplaceAll(strings.Join(strings.Fields(err.Error()), " "), place, ""))
}

// validJSON says whether text is one JSON value that the schema takes. Text that no reading of JSON agrees on (duplicate keys,
// lone surrogates, numbers beyond a float64) is not.
func validJSON(schema *jsonschema.Schema, text string) bool {
	v, err := ordjson.Parse([]byte(strings.TrimSpace(text)))
	if err != nil {
		return false
	}
	instance, ok := native(v)
	return ok && schema.Validate(instance) == nil
}

// native is a value as the library takes it; false where a number is beyond a float64. The library computes with exact
// fractions, and that of 1e-999999999 would fill the memory.
func native(v ordjson.Value) (any, bool) {
	switch v := v.(type) {
	case ordjson.Number:
		if e := strings.IndexAny(string(v), "eE"); e >= 0 && len(v)-e > len("e-308") {
			return nil, false
		}
		_, err := v.Float64()
		return v, err == nil
	case []ordjson.Value:
		list := make([]any, len(v))
		for i, e := range v {
			var ok bool
			if list[i], ok = native(e); !ok {
				return nil, false
			}
		}
		return list, true
	case *ordjson.Object:
		m := make(map[string]any, v.Len())
		for _, member := range v.Members() {
			e, ok := native(member.Value)
			if !ok {
				return nil, false
			}
			m[member.Key] = e
		}
		return m, true
	}
	return v, true
}
