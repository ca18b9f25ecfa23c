package jsonschema

import (
	"bytes"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/hone-ml/hone/schemas"
)

const good = `{"name": "p", "stages": {
	"base": {"kind": "model.load", "source": "hf://a/b", "out": {"model": {"kind": "model", "from": "base", "port": "model"}}},
	"tune": {"kind": "train.sft", "model": {"kind": "model", "from": "base", "port": "model"},
		"data": {"kind": "dataset", "from": "rows", "port": "data"}, "learningRate": 2e-5, "batch": {"rows": 1},
		"lora": {"rank": 8, "targets": ["q_proj"]}, "needs": []},
	"run": {"kind": "exec", "command": ["true"], "out": {"data": {"kind": "dataset"}}}}}`

func TestPipelineSchemaAccepts(t *testing.T) { check(t, good, true) }

func TestPipelineSchemaRefuses(t *testing.T) {
	for _, change := range [][2]string{
		{`"learningRate"`, `"learningRte"`},
		{`2e-5`, `-1`},
		{`"train.sft"`, `"train.sftt"`},
		{`{"rows": 1}`, `{"row": 1}`},
		{`{"rank": 8,`, `{"rnk": 8,`},
		{`"kind": "dataset", "from"`, `"kind": "model", "from"`},
		{`["true"]`, `[]`},
		{`"name": "p"`, `"nam": "p"`},
		{`"needs": []`, `"needs": [{"kind": "model", "from": "base", "port": "model"}]`},
		{`"tune":`, `"a/b":`},
		{`"source": "hf://a/b"`, `"dtype": "auto"`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good {
			t.Fatalf("%s is not in the good pipeline", change[0])
		}
		check(t, bad, false)
	}
}

func check(t *testing.T, pipeline string, valid bool) {
	t.Helper()
	b, err := Pipeline()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("hone.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("hone.json")
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(pipeline))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(v); (err == nil) != valid {
		t.Errorf("valid is %v of\n%s\n%v", err == nil, pipeline, err)
	}
}

func TestEveryKindHasASchema(t *testing.T) {
	for _, kind := range schemas.Kinds() {
		b, err := Kind(kind)
		if err != nil || !bytes.Contains(b, []byte(`"description"`)) {
			t.Errorf("%s: %v, %d bytes", kind, err, len(b))
		}
	}
	if _, err := Kind("no.such"); err == nil {
		t.Error("a schema of a kind that is not there")
	}
}
