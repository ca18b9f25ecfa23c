package pipelines

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"github.com/hone-ml/hone/internal/bounded"
	"github.com/hone-ml/hone/schemas"
)

// senseLoRA tells of targets that can be none, and of fields that are written and not read.
func (c *compiler) senseLoRA(s *stage, v *schemas.LoRA) {
	if v == nil {
		return
	}
	if p := v.Targets.Pattern; p != "" && p == regexp.QuoteMeta(p) { // without a dot it is no layer's whole name
		c.errorf(s, "lora.targets", "%q is an expression that whole names match; [%q] takes the layers whose names end so", p, p)
	} else {
		c.requirePattern(s, "lora.targets", p)
	}
	if s.wrote("lora.doubleQuantize") && v.Quantize == "" {
		c.advisef(s, "lora.doubleQuantize", "read with quantize alone")
	}
	for _, field := range []string{"rank", "alpha", "targets", "rslora", "dora"} {
		if path := "lora." + field; v.Init != nil && s.wrote(path) {
			c.advisef(s, path, "the adapter of lora.init has its own, which counts")
		}
	}
	if v.Init != nil {
		c.requireBase(s, v.Init)
	}
}

// requireBase refuses an adapter to go on from that a stage trained over another model: shapes may fit all the same, and then nothing else
// would tell. Of a folder's it advises, where both are named as on the hub: mirrors have other names.
func (c *compiler) requireBase(s *stage, init *schemas.Ref) {
	own, _ := s.tree["model"].(*Edge)
	is := c.weights(own)
	switch {
	case is == nil:
	case init.Edge == nil:
		trained, model := c.baseNamed(init.Path), repository(is)
		if trained != "" && model != "" && trained != model {
			c.advisef(s, "lora.init", "its adapter_config.json names the base %s, and the model is %s", trained, model)
		}
	default:
		was := c.weights(c.base(init.Edge))
		if was != nil && !sameWeights(was, is) {
			c.errorf(s, "lora.init", "the adapter of %s is over %s, and the model is %s: one goes on over the same", init.Edge.From, called(was), called(is))
		}
	}
}

// base is the model that the adapter at an edge adapts; nil where it is not known.
func (c *compiler) base(e *schemas.Edge) *Edge {
	if from := c.byName[e.From]; from != nil {
		for _, out := range from.outs {
			if out.Port == e.Port {
				return out.Base
			}
		}
	}
	return nil
}

// weights is the stage that made the weights at an edge: a template changes none. It is nil where nobody knows, of a program's say.
func (c *compiler) weights(e *Edge) *stage {
	for range c.stages { // a cycle ends too
		if e == nil {
			return nil
		}
		s := c.byName[e.From]
		if s == nil || s.config == nil || s.kind == "exec" {
			return nil
		}
		if s.kind != "template.set" {
			return s
		}
		e, _ = s.tree["model"].(*Edge)
	}
	return nil
}

// sameWeights says whether two stages give the same, as far as what they are told says: two may load one source.
func sameWeights(a, b *stage) bool {
	if x, ok := a.config.(*schemas.ModelLoad); ok {
		if y, ok := b.config.(*schemas.ModelLoad); ok && x.Source != "" {
			return x.Source == y.Source // whatever its dtype
		}
	}
	return a == b || a.kind == b.kind && reflect.DeepEqual(a.config, b.config)
}

// called is a stage with the source that it loads.
func called(s *stage) string {
	if v, ok := s.config.(*schemas.ModelLoad); ok && v.Source != "" {
		return s.name + " (" + v.Source + ")"
	}
	return s.name
}

// repository is the name that a model has on the hub; "" where it comes from elsewhere.
func repository(s *stage) string {
	v, ok := s.config.(*schemas.ModelLoad)
	if !ok || !strings.HasPrefix(v.Source, "hf://") {
		return ""
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(v.Source, "hf://"), "@")
	return name
}

var onHub = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9._-]+$`)

// baseNamed is the name on the hub of the base that a PEFT folder names; "" where it names none, or a folder.
func (c *compiler) baseNamed(dir string) string {
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(c.p.Dir, dir)
	}
	b, err := bounded.ReadFile(filepath.Join(dir, "adapter_config.json"), bounded.Input)
	var config struct {
		Base string `json:"base_model_name_or_path"`
	}
	if err != nil || json.Unmarshal(b, &config) != nil || !onHub.MatchString(config.Base) {
		return "" // what is wrong with it is told elsewhere
	}
	return config.Base
}
