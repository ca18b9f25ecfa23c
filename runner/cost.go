package runner

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hone-ml/hone/internal/cost"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner/store"
	"github.com/hone-ml/hone/schemas"
)

// Cost is what a stage, or all of a plan, is predicted to take. What is null is not known.
type Cost struct {
	Seconds     *float64 `json:"seconds"`
	Range       *Range   `json:"seconds_range,omitempty"` // of the seconds that are computed, in part at least
	DeviceHours *float64 `json:"device_hours"`            // of the processor or the accelerator that it computes on
	Memory      *int64   `json:"memory"`                  // bytes at the peak
	Disk        *int64   `json:"disk"`                    // bytes of what it makes, and of the checkpoints on the way
	Money       *float64 `json:"money"`
	Currency    *string  `json:"currency"`
	Basis       string   `json:"basis"`             // what the figures stand on, or why there are none
	Warning     string   `json:"warning,omitempty"` // memory that it will not have

	ground  ground
	machine string // of a computed one: what its rates are
}

// Range is the least and the most of what is predicted.
type Range [2]float64

// ground is what a prediction stands on.
type ground int

const (
	unknown ground = iota
	measured
	computed
)

// Predict fills in what each stage of a plan that would run is to take, and the sum. It reads records, config.json of models and some rows of
// data; for a plan that reuses everything it reads nothing.
func (r *Runner) Predict(plan *Plan) {
	outputs := map[string]Outputs{}
	for _, s := range plan.Stages {
		if s.Action == Reuse && s.Record != nil {
			outputs[s.Name] = s.Record.Outputs
		}
	}
	for _, s := range plan.Stages {
		r.predict(s, outputs)
	}
	plan.Cost = total(plan.Stages)
}

// predict fills in what a stage that would run is to take, given the artifacts of the stages before it.
func (r *Runner) predict(p *StagePlan, outputs map[string]Outputs) {
	if p.Action != Run && p.Action != Resume {
		return
	}
	f := &forecast{Runner: r, outputs: outputs}
	p.Cost = f.cost(p)
	p.Predicted = p.Cost.Seconds
}

// forecast is what is known when stages are predicted.
type forecast struct {
	*Runner
	outputs map[string]Outputs
}

// cost predicts a stage: from a record of the same kind and shape, scaled by the work, else by the arithmetic of cost's.
func (f *forecast) cost(p *StagePlan) *Cost {
	s := p.Stage
	machine := f.machineOf(s)
	w := f.stageWork(s, machine)
	now, err := w.estimate()
	c := &Cost{Basis: "unknown"}
	rec, scale, memory := f.precedent(p, machine, now, err)
	if rec == nil && err != nil {
		c.Basis = "unknown: " + err.Error()
		return c
	}
	left := 1 - p.done()
	var seconds float64
	switch {
	case rec != nil:
		seconds = rec.Seconds * scale
		if err == nil { // of which a resume does not repeat the work
			seconds *= (now.Fixed + left*now.Work) / max(now.Seconds(), 1e-9)
		} else {
			seconds *= left
		}
		c.ground, c.Basis = measured, "measured: run of "+rec.Started.Local().Format(time.DateOnly)
		if scale < 0.99 || scale > 1.01 {
			c.Basis += fmt.Sprintf(", scaled by %.2g", scale)
		}
	default:
		seconds = now.Fixed + left*now.Work
		c.ground, c.machine, c.Basis = computed, machine.Basis(), "computed: "+w.said()+machine.Basis()
	}
	if p.Action == Resume {
		c.Basis += fmt.Sprintf("; %.0f%% is left", 100*left)
	}
	c.Seconds, c.DeviceHours = &seconds, new(seconds/3600)
	if c.ground == computed {
		within := machine.Within()
		c.Range = &Range{seconds / within, seconds * within}
	}
	switch {
	case memory > 0:
		c.Memory = &memory
	case err == nil:
		c.Memory = new(now.Peak())
	}
	if err == nil {
		c.Disk = &now.Disk
		c.Warning = f.short(s, machine, now).Msg
	}
	f.charge(c, s)
	return c
}

// charge adds money where there is a price.
func (f *forecast) charge(c *Cost, s *pipelines.Stage) {
	price := s.Resources.Price
	if price == "" {
		price = f.opts.Price
	}
	if each, currency, err := ParsePrice(price); err == nil && c.Seconds != nil {
		c.Money, c.Currency = new(each**c.Seconds/3600), &currency
	}
}

// ParsePrice reads the price of an hour: 2.50 USD/h.
func ParsePrice(price string) (each float64, currency string, err error) {
	amount, unit, _ := strings.Cut(price, " ")
	currency, ok := strings.CutSuffix(unit, "/h")
	each, err = strconv.ParseFloat(amount, 64)
	if err != nil || !(each >= 0) || each > 1e9 || !ok || len(currency) != 3 || strings.Trim(currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return 0, "", fmt.Errorf("%q is no price of an hour, as 2.50 USD/h", price)
	}
	return each, currency, nil
}

// total is the sum of all that is known: stages that compute run one after another.
func total(stages []*StagePlan) *Cost {
	sum := &Cost{}
	var unknowns []string
	count := map[ground]int{}
	least, most := 0.0, 0.0 // of one machine all are off alike
	currencies, machines := map[string]bool{}, map[string]bool{}
	for _, p := range stages {
		c := p.Cost
		if c == nil {
			continue
		}
		count[c.ground]++
		if c.Seconds == nil {
			unknowns = append(unknowns, p.Name)
			continue
		}
		if c.machine != "" {
			machines[c.machine] = true
		}
		add(&sum.Seconds, c.Seconds)
		between := Range{*c.Seconds, *c.Seconds}
		if c.Range != nil {
			between = *c.Range
		}
		least, most = least+between[0], most+between[1]
		add(&sum.DeviceHours, c.DeviceHours)
		add(&sum.Disk, c.Disk)
		if c.Memory != nil {
			sum.Memory = new(max(*c.Memory, *orZero(sum.Memory)))
		}
		if c.Money != nil {
			add(&sum.Money, c.Money)
			currencies[*c.Currency] = true
			sum.Currency = c.Currency
		}
	}
	if len(currencies) > 1 { // which nobody can add up
		sum.Money, sum.Currency = nil, nil
	}
	if count[computed] > 0 {
		sum.Range = &Range{least, most}
	}
	var said []string
	if count[measured] > 0 {
		said = append(said, fmt.Sprintf("%d measured", count[measured]))
	}
	if count[computed] > 0 {
		said = append(said, fmt.Sprintf("%d computed (%s)", count[computed], strings.Join(slices.Sorted(maps.Keys(machines)), "; ")))
	}
	if len(unknowns) > 0 {
		said = append(said, fmt.Sprintf("%d unknown (%s)", len(unknowns), strings.Join(unknowns, ", ")))
	}
	if len(currencies) > 1 {
		said = append(said, "prices in "+strings.Join(slices.Sorted(maps.Keys(currencies)), " and ")+" are not added up")
	}
	sum.Basis = strings.Join(said, ", ")
	return sum
}

func add[T int64 | float64](sum **T, v *T) {
	if v != nil {
		*sum = new(*orZero(*sum) + *v)
	}
}

func orZero[T any](v *T) *T {
	if v == nil {
		return new(T)
	}
	return v
}

// done is the share of its work that a resume does not do again.
func (p *StagePlan) done() float64 {
	switch {
	case p.Action != Resume:
		return 0
	case p.shorter != nil && p.shorter.unfinished == nil: // a training that has ended, of which this is a longer one
		return min(schemas.LengthShare(p.shorter.Config, p.Stage.Config), 1)
	}
	u := p.Unfinished
	if p.shorter != nil {
		u = p.shorter.unfinished
	}
	if u == nil || u.Total == 0 || u.Unit != u.unit() {
		return 0
	}
	share := float64(u.Saved) / float64(u.Total)
	if p.shorter != nil {
		share *= schemas.LengthShare(p.shorter.Config, p.Stage.Config)
	}
	return min(share, 1)
}

// candidates is how many records are looked at for one of the same shape.
const candidates = 8

// precedent is the record that a stage is predicted from, by what to scale its seconds, and the memory that it comes to (0: not known). Records
// are of this kind, device and threads and were not resumed; the stage's own come first, and the newest.
func (f *forecast) precedent(p *StagePlan, machine cost.Machine, now cost.Estimate, unknown error) (rec *store.Record, scale float64, memory int64) {
	s, n := p.Stage, f.numerics(p.Stage)
	own := []*store.Record{}
	var others []*store.Record
	for _, rec := range slices.Backward(f.history()) {
		switch {
		case rec.Kind != s.Kind || rec.Resumed || rec.Seconds <= 0 || !f.sameMachine(rec, s, n.Threads, n.Device):
		case p.Key != nil && rec.Key == *p.Key: // what is made again takes what it took
			return rec, 1, rec.Memory
		case rec.Stage == s.Name && f.own(rec):
			own = append(own, rec)
		default:
			others = append(others, rec)
		}
	}
	config, _ := ingredients(s, nil, nil)
	for i, rec := range append(own, others...) {
		if i == candidates {
			break
		}
		if unknown != nil { // no arithmetic: the same program
			if s.Kind == "exec" && sameConfig(rec.Ingredients, config) {
				return rec, 1, rec.Memory
			}
			continue
		}
		then, ok := f.recordWork(rec, s, machine)
		if !ok {
			continue
		}
		e, err := then.estimate()
		if err != nil || e.Seconds() <= 0 {
			continue
		}
		return rec, now.Seconds() / e.Seconds(), int64(float64(rec.Memory) * float64(now.Peak()) / float64(max(e.Peak(), 1)))
	}
	return nil, 0, 0
}

// sameMachine says whether what a record took is what this stage will take: it ran on the same sort of device with as many threads, and
// not here where the stage is to run elsewhere.
func (f *forecast) sameMachine(rec *store.Record, s *pipelines.Stage, threads int, device string) bool {
	if rec.Numerics == nil {
		return false
	}
	m := s.Resources.Machine
	if m == nil || !schemas.Computes(s.Kind) {
		return Inline(s) || rec.Numerics.Threads == threads && (rec.Numerics.Device == "cpu") == (device == "cpu")
	}
	name, _, _ := strings.Cut(m.Name, "-")
	return m.Name != "" && rec.Numerics.Device != "cpu" && strings.Contains(strings.ToLower(rec.Numerics.Device), name)
}

// sameConfig says whether two keys differ in inputs and sources alone.
func sameConfig(a, b []store.Ingredient) bool {
	only := func(list []store.Ingredient) []store.Ingredient {
		return slices.DeleteFunc(slices.Clone(list), func(in store.Ingredient) bool { return in.From != "config" })
	}
	return len(compare(only(a), only(b))) == 0
}

// machineOf is what a stage is to run on: the machine that it names, else the one at hand.
func (f *forecast) machineOf(s *pipelines.Stage) cost.Machine {
	n := f.numerics(s)
	here := cost.Guess(n.Device, n.Threads, 0)
	if f.opts.Machine != nil {
		here = f.opts.Machine(n.Device, n.Threads)
	}
	m := s.Resources.Machine
	if m == nil || !schemas.Computes(s.Kind) {
		return here
	}
	if named, ok := cost.Named(m.Name); ok {
		return named
	}
	device := m.Device
	if device == "" {
		device = "cuda"
	}
	said := cost.Guess(device, n.Threads, m.Memory)
	said.Said = "figures of resources.machine"
	for _, figure := range []struct {
		to   *float64
		from float64
	}{{&said.Float32, m.Float32}, {&said.BFloat16, m.BFloat16}, {&said.Bandwidth, m.Bandwidth}} {
		if figure.from > 0 {
			*figure.to = figure.from
		} else {
			said.Said = "figures of resources.machine, and guesses where it has none"
		}
	}
	return said
}
