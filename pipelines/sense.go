package pipelines

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/encoding/jsonschema"

	"github.com/hone-ml/hone/internal/grade/expr"
	"github.com/hone-ml/hone/internal/program"
	"github.com/hone-ml/hone/schemas"
)

// isFresh says whether the model of a stage goes back to random weights.
func (c *compiler) isFresh(s *stage) bool {
	for range c.stages { // a cycle ends too
		v, ok := s.config.(*schemas.ModelLoad)
		if ok {
			return v.Config != nil
		}
		edge, ok := s.tree["model"].(*Edge)
		if !ok || c.byName[edge.From] == nil {
			return false
		}
		s = c.byName[edge.From]
	}
	return false
}

// requireSense tells what no schema can say: what holds between fields, and between stages.
func (c *compiler) requireSense(s *stage) {
	switch v := s.config.(type) {
	case *schemas.ModelLoad:
		if v.Tokenizer != nil && v.Config == nil {
			c.errorf(s, "tokenizer", "goes with config alone: source brings its own")
		}
		if s.wrote("seed") && v.Config == nil {
			c.advisef(s, "seed", "read with config alone")
		}
	case *schemas.CurateFilter:
		c.senseFilter(s, v)
	case *schemas.CurateSplit:
		sum := 0.0
		for _, name := range names(v.Parts) {
			sum += v.Parts[name]
		}
		if sum > 1+1e-9 && !c.toldBelow(s, "parts") {
			c.errorf(s, "parts", "shares sum to %.4g, above 1", sum)
		}
	case *schemas.TrainSFT:
		c.senseTraining(s, &v.Training, v.LoRA)
		c.senseRate(s, &v.Training, sftRates, sftLoRARates, v.LoRA != nil)
		c.senseLoRA(s, v.LoRA)
	case *schemas.TrainDPO:
		c.senseDPO(s, v)
	case *schemas.TrainGRPO:
		c.senseGRPO(s, v)
	case *schemas.ModelPretrain:
		c.senseTraining(s, &v.Training, nil)
		c.senseRate(s, &v.Training, freshRates, freshRates, false)
	case *schemas.Generate:
		c.senseAnswering(s, &v.Answering)
	case *schemas.CurateDistill:
		c.senseAnswering(s, &v.Answering)
	case *schemas.CurateReject:
		c.senseAnswering(s, &v.Answering)
		if v.N == 1 {
			c.advisef(s, "n", "one answer a row makes no pairs, and there is nothing to choose from")
		}
		for _, name := range names(v.Graders) {
			c.senseWeighted(s, "graders."+name, v.Graders[name])
		}
	case *schemas.Eval:
		c.senseEval(s, v)
	case *schemas.Export:
		if v.Format == "peft" && v.Model.Kind == "model" {
			c.errorf(s, "format", "peft is an adapter's, and %s.%s is a model", v.Model.From, v.Model.Port)
		}
		if v.Format == "gguf" && v.Model.Kind == "adapter" {
			c.errorf(s, "format", "gguf is a whole model, and %s.%s is an adapter; model.merge makes a model of it", v.Model.From, v.Model.Port)
		}
		if v.Format != "gguf" && v.Type != "" {
			c.errorf(s, "type", "for format gguf alone: %s keeps the weights as they are", v.Format)
		}
	case *schemas.Exec:
		c.senseExec(s, v)
	}
}

// wrote says whether the user wrote a field, as against its default.
func (s *stage) wrote(path string) bool { _, ok := s.where[path]; return ok }

func (c *compiler) senseFilter(s *stage, v *schemas.CurateFilter) {
	for i, step := range v.Steps {
		path := fmt.Sprintf("steps[%d]", i)
		if l := step.Length; l != nil {
			for _, bound := range []struct {
				name string
				*schemas.Range
			}{{"characters", l.Characters}, {"tokens", l.Tokens}, {"turns", l.Turns}} {
				if r := bound.Range; r != nil && r.Min != nil && r.Max != nil && *r.Min > *r.Max {
					c.errorf(s, path+".length."+bound.name, "min %d is above max %d", *r.Min, *r.Max)
				}
			}
			if l.Tokens != nil && v.Model == nil {
				c.errorf(s, path+".length.tokens", "counting tokens wants a model beside data, for its tokenizer")
			}
		}
		if step.Regex != nil {
			c.requirePattern(s, path+".regex.pattern", step.Regex.Pattern)
		}
	}
}

// unread is the optimisers that do not read a constant.
var unread = map[string][]string{
	"beta1":    {"adafactor"},
	"beta2":    {"adafactor"},
	"epsilon":  {"adafactor", "lion"},
	"momentum": {"adamw", "adafactor", "lion"},
}

// senseTraining is of every kind that trains; lora is absent where the whole model is trained.
func (c *compiler) senseTraining(s *stage, v *schemas.Training, lora *schemas.LoRA) {
	c.requireDate(s, v.Date)
	if w := v.Schedule.Warmup; w >= 1 && w != float64(int64(w)) {
		c.errorf(s, "schedule.warmup", "%g: whole steps, or a share below 1", w)
	}
	if w := v.Schedule.Warmup; v.MaxSteps != nil && w >= float64(*v.MaxSteps) && w >= 1 {
		c.advisef(s, "schedule.warmup", "%g steps of maxSteps %d: learningRate is never reached", w, *v.MaxSteps)
	}
	if d := v.Schedule.Decay; d >= 1 && d != float64(int64(d)) {
		c.errorf(s, "schedule.decay", "%g: whole steps, or a share below 1", d)
	}
	if s.wrote("schedule.decay") && v.Schedule.Kind != "wsd" {
		c.errorf(s, "schedule.decay", "for kind wsd alone: not %s", v.Schedule.Kind)
	}
	for _, field := range names(unread) {
		if path := "optimizer." + field; s.wrote(path) && slices.Contains(unread[field], v.Optimizer.Kind) {
			c.errorf(s, path, "%s does not read it", v.Optimizer.Kind)
		}
	}
	if v.Freeze != nil && lora != nil {
		c.errorf(s, "freeze", "an adapter's base is frozen as it is; lora.targets says what is trained")
	}
	if v.Freeze != nil {
		for i, p := range v.Freeze.Parameters {
			c.requirePattern(s, fmt.Sprintf("freeze.parameters[%d]", i), p)
		}
	}
	if v.MaxSteps != nil && s.wrote("epochs") {
		c.advisef(s, "epochs", "maxSteps wins over it")
	}
}

// senseAnswering is of the kinds that answer rows.
func (c *compiler) senseAnswering(s *stage, v *schemas.Answering) {
	c.requireDate(s, v.Date)
	if v.Temperature != nil {
		return
	}
	if v.N > 1 {
		c.errorf(s, "n", "%d answers a row want a temperature: greedy ones are all the same", v.N)
	}
	for _, name := range []string{"topP", "topK", "minP"} {
		if s.wrote(name) {
			c.advisef(s, name, "read with a temperature alone; without one decoding is greedy")
		}
	}
}

func (c *compiler) senseEval(s *stage, v *schemas.Eval) {
	c.requireDate(s, v.Date)
	for _, name := range names(v.Suites) {
		suite, path := v.Suites[name], "suites."+name
		if suite.Perplexity != nil {
			for _, field := range []string{"maxNewTokens", "system"} {
				if s.wrote(path + "." + field) {
					c.errorf(s, path+"."+field, "perplexity generates nothing")
				}
			}
		}
		c.senseGrader(s, path, suite.Grader)
	}
	for _, name := range names(v.Gate) {
		gate, path := v.Gate[name], "gate."+name
		suite, ok := v.Suites[name]
		if !ok {
			c.errorf(s, path, "there is no suite %s%s", name, Suggest(name, names(v.Suites)))
			continue
		}
		for _, bound := range []struct {
			name                 string
			value                *float64
			perplexity, baseline bool
		}{
			{"minimum", gate.Minimum, false, false}, {"maxDrop", gate.MaxDrop, false, true},
			{"maximum", gate.Maximum, true, false}, {"maxRise", gate.MaxRise, true, true},
		} {
			switch field := path + "." + bound.name; {
			case bound.value == nil:
			case bound.perplexity && suite.Perplexity == nil:
				c.errorf(s, field, "is for perplexity; a score has minimum and maxDrop")
			case !bound.perplexity && suite.Perplexity != nil:
				c.errorf(s, field, "is for scores; perplexity has maximum and maxRise")
			case bound.baseline && v.Baseline == nil:
				c.errorf(s, field, "compares with a baseline, and the stage has none")
			}
		}
	}
}

func (c *compiler) senseExec(s *stage, v *schemas.Exec) {
	c.requireProgram(s, "command", v.Command, append(v.Files, "in"), v.Env)
}

// requireProgram holds a program that lies in the folder it runs in against the files that are put there. One of the machine's
// may be on another machine alone: that it is not here is advice.
func (c *compiler) requireProgram(s *stage, path string, command, files []string, env map[string]string) {
	if len(command) == 0 {
		return // told
	}
	name := command[0]
	if name == "" {
		c.errorf(s, path+"[0]", "an empty program")
		return
	}
	if !strings.Contains(name, "/") || filepath.IsAbs(name) {
		if err := c.lacks(name, program.Environment(0, env)); err != nil {
			c.advisef(s, path+"[0]", "%v here; the machine that runs the stage needs it", err)
		}
		return
	}
	name = filepath.Clean(name)
	if !slices.ContainsFunc(files, func(file string) bool {
		rel, err := filepath.Rel(file, name)
		return err == nil && filepath.IsLocal(rel)
	}) {
		c.errorf(s, path+"[0]", "%s is not among files, and the stage's folder holds nothing else", command[0])
	}
}

// lacks says why the machine has no program of that name.
func (c *compiler) lacks(name string, env map[string]string) error {
	asked := name + "\x00" + env["PATH"]
	err, known := c.programs[asked]
	if !known {
		_, err = program.Find([]string{name}, "", env)
		c.programs[asked] = err
	}
	return err
}

// senseGrader compiles what a grader would: a mistake in it is found before anything has run.
func (c *compiler) senseGrader(s *stage, path string, g schemas.Grader) {
	if g.Regex != nil {
		c.requirePattern(s, path+".regex.pattern", g.Regex.Pattern)
	}
	if g.JSONSchema != nil {
		c.requireSchema(s, path+".jsonSchema.schema", g.JSONSchema.Schema)
	}
	if g.CEL != nil && g.CEL.Expression != "" {
		if _, err := expr.Compile(g.CEL.Expression); err != nil {
			c.errorf(s, path+".cel.expression", "%v", err)
		}
	}
	if g.Exec != nil {
		c.requireProgram(s, path+".exec.command", g.Exec.Command, g.Exec.Files, nil)
	}
}

// senseWeighted is of a grader that is a term of a sum.
func (c *compiler) senseWeighted(s *stage, path string, g schemas.WeightedGrader) {
	c.senseGrader(s, path, g.Grader)
	if g.Weight == 0 && s.wrote(path+".weight") {
		c.advisef(s, path+".weight", "at 0 the grader is scored and counts for nothing")
	}
}

// requireSchema reads a JSON Schema as CUE does. The worker has a library of its own for it, whose start takes longer than all
// else that hone does.
func (c *compiler) requireSchema(s *stage, path string, schema map[string]any) {
	var told []string
	inside := func(to jsonschema.SchemaLoc) (string, cue.Path, error) {
		if to.IsLocal {
			return jsonschema.DefaultMapRef(to)
		}
		told = append(told, fmt.Sprintf("a $ref leads outside the schema, to %s", to.ID))
		return "", cue.Path{}, fmt.Errorf("outside")
	}
	_, err := jsonschema.Extract(c.p.context.Encode(schema), &jsonschema.Config{MapRef: inside})
	for _, e := range errors.Errors(err) {
		format, args := e.Msg()
		told = append(told, oneLine(format, args))
	}
	if len(told) > 0 { // the first: others follow from it
		c.errorf(s, path, "%s", told[0])
	}
}

func (c *compiler) requirePattern(s *stage, path, pattern string) {
	if _, err := regexp.Compile(pattern); err != nil {
		c.errorf(s, path, "%v", err)
	}
}

func (c *compiler) requireDate(s *stage, date string) {
	if _, err := time.Parse(time.DateOnly, date); err != nil && !c.told(s, "date") {
		c.errorf(s, "date", "%q is no day", date)
	}
}
