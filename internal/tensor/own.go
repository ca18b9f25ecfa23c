package tensor

// #include "ops.h"
import "C"

// Operators of our own. Shapes are in rows of tokens: a batch is its rows behind one another, without padding. Each has the
// reference of its mathematics in its C++ file; tests hold it against libtorch's composite, forward and backward.

// Embedding is the rows of weight [vocabulary, dim] for ids [tokens]: [tokens, dim]. Row padding is not trained by it, as in
// torch.nn.Embedding; below zero there is none.
func Embedding(weight, ids Tensor, padding int64) Tensor {
	var out C.hten
	var e *C.char
	check("embedding", C.hone_embedding(&out, weight.h(), ids.h(), C.int64_t(padding), &e), e)
	return wrap(out)
}

// RMSNorm is x·rstd·(weight + shift) over the last dimension. Where residual is defined it is added to x first, and sum is
// that sum; otherwise sum is x. In mixed precision x, sum and weight are float32 while residual and out are of dtype to.
func RMSNorm(x, residual, weight Tensor, eps, shift float64, to Dtype) (sum, out Tensor) {
	var s, o C.hten
	var e *C.char
	check("rmsnorm", C.hone_rmsnorm(&s, &o, x.h(), residual.h(), weight.h(), C.double(eps), C.double(shift), C.int(to), &e), e)
	if !residual.Defined() {
		return x, wrap(o)
	}
	return wrap(s), wrap(o)
}

// LayerNorm is (x - mean)·rstd·weight + bias over the last dimension; residual, sum and dtypes as in RMSNorm.
func LayerNorm(x, residual, weight, bias Tensor, eps float64, to Dtype) (sum, out Tensor) {
	var s, o C.hten
	var e *C.char
	check("layernorm", C.hone_layernorm(&s, &o, x.h(), residual.h(), weight.h(), bias.h(), C.double(eps), C.int(to), &e), e)
	if !residual.Defined() {
		return x, wrap(o)
	}
	return wrap(s), wrap(o)
}

// Split is x [tokens, Σ sizes] cut along its columns: views.
func Split(x Tensor, sizes ...int64) []Tensor {
	outs := make([]C.hten, len(sizes))
	var e *C.char
	check("split", C.hone_split(&outs[0], x.h(), shapePtr(sizes), C.int(len(sizes)), &e), e)
	r := make([]Tensor, len(sizes))
	for i, o := range outs {
		r[i] = wrap(o)
	}
	return r
}

// Rope rotates x [tokens, heads·dim] by position [tokens]: [tokens, heads, dim]. cos and sin are [positions, rotated/2].
func Rope(x, cos, sin, position Tensor, heads int) Tensor {
	var out C.hten
	var e *C.char
	check("rope", C.hone_rope(&out, x.h(), cos.h(), sin.h(), position.h(), C.int64_t(heads), &e), e)
	return wrap(out)
}

// SwiGLU is silu(gate)·up of gateUp [tokens, 2f], gate first: [tokens, f].
func SwiGLU(gateUp Tensor) Tensor {
	var out C.hten
	var e *C.char
	check("swiglu", C.hone_swiglu(&out, gateUp.h(), &e), e)
	return wrap(out)
}

// GeGLU is gelu(gate)·up of gateUp [tokens, 2f], gate first, with GELU's tanh form: [tokens, f].
func GeGLU(gateUp Tensor) Tensor {
	var out C.hten
	var e *C.char
	check("geglu", C.hone_geglu(&out, gateUp.h(), &e), e)
	return wrap(out)
}

// GELU is GELU's tanh form (transformers' gelu_new and gelu_pytorch_tanh) of each element.
func GELU(x Tensor) Tensor {
	var out C.hten
	var e *C.char
	check("gelu", C.hone_gelu(&out, x.h(), &e), e)
	return wrap(out)
}

// Linear is x·weightᵀ + bias, in dtype compute; bias may be absent. x: [tokens, in], weight: [out, in], or an NF4. compute is the weight's
// dtype; a frozen weight may be in bfloat16 where it is float32, and gives what the same values in float32 would, bit for bit in a
// few rows.
func Linear(x, weight, bias Tensor, compute Dtype) Tensor {
	var out C.hten
	var e *C.char
	check("linear", C.hone_linear(&out, x.h(), weight.h(), bias.h(), C.int(compute), &e), e)
	return wrap(out)
}

// Part is the output rows of a fused weight that carry one adapter, and the adapter's scale (alpha/rank).
type Part struct {
	From, Rows int64
	Scale      float64
}

// Adapter is LoRA on parts of a fused weight: A [parts·rank, in] and B [Σ rows, rank], both in the order of Parts. With Magnitudes and
// Norms, [Σ rows] each, it is DoRA: an adapted row of the weight is Magnitudes/Norms times what LoRA makes of it, and Norms, those of
// LoRA's rows, count as constants.
type Adapter struct {
	A, B              Tensor
	Magnitudes, Norms Tensor // absent, both, in LoRA
	Parts             []Part
}

// split is the parts as C takes them.
func (a *Adapter) split() (parts *C.int64_t, n C.int, scales *C.double) {
	pairs := make([]int64, 0, 2*len(a.Parts))
	all := make([]C.double, 0, len(a.Parts))
	for _, p := range a.Parts {
		pairs, all = append(pairs, p.From, p.Rows), append(all, C.double(p.Scale))
	}
	return shapePtr(pairs), C.int(len(a.Parts)), &all[0]
}

// LoRA is Linear with scale·B·A·dropout(x) of each part added to the parts' outputs. The draw of dropout depends on seed alone; on a
// device seed 0 goes on with the draws that DrawFrom began.
func LoRA(x, weight, bias Tensor, a Adapter, dropout float64, seed uint64, compute Dtype) Tensor {
	parts, n, scales := a.split()
	var out C.hten
	var e *C.char
	check("lora", C.hone_lora(&out, x.h(), weight.h(), bias.h(), a.A.h(), a.B.h(), a.Magnitudes.h(), a.Norms.h(), parts, n, scales,
		C.double(dropout), C.uint64_t(seed), C.int(compute), &e), e)
	return wrap(out)
}

// RowNorms is the lengths of the parts' rows of weight + scale·B·A, in the dtype of A and B: [Σ rows], without gradient.
func RowNorms(weight Tensor, a Adapter) Tensor {
	parts, n, scales := a.split()
	var out C.hten
	var e *C.char
	check("row norms", C.hone_row_norms(&out, weight.h(), a.A.h(), a.B.h(), parts, n, scales, &e), e)
	return wrap(out)
}

// Scoring is what attention makes of a query and a key: the score scale·q·k, or cap·tanh(scale·q·k/cap).
type Scoring struct {
	Scale  float64
	Window int64   // tokens that a query sees, itself among them; 0 is all before it
	Cap    float64 // 0 is none
}

// Rows is where rows of tokens are that stand behind one another: row i is the tokens Borders[i] … Borders[i+1].
type Rows struct {
	Borders []int64
	device  Tensor // the same there, int32; may end in empty rows
	longest int64
}

// NewRows makes the borders known to the device.
func NewRows(borders []int64) Rows {
	r := Rows{Borders: borders}
	narrow := make([]int32, len(borders))
	for i, b := range borders {
		if narrow[i] = int32(b); i > 0 {
			r.longest = max(r.longest, b-borders[i-1])
		}
	}
	if OnDevice() {
		r.device = Of(narrow, int64(len(narrow)))
	}
	return r
}

// FixedRows is memory that stays for the borders of up to n rows of so many tokens together, none longer than longest. Only
// operators with a composite for it take what it is filled with: see Put.
func FixedRows(n, tokens, longest int64) Rows {
	return Rows{Borders: []int64{0, tokens}, device: Zeros(Int32, n+1).Forget(), longest: longest}
}

// Put fills r with other borders; what tokens and rows remain are a row and rows without tokens.
func (r Rows) Put(borders []int64) {
	all := make([]int32, r.device.Count())
	for i := range all {
		if all[i] = int32(r.Borders[1]); i < len(borders) {
			all[i] = int32(borders[i])
		}
	}
	r.device.Put(bytesOf(all))
}

// Free releases the memory of FixedRows.
func (r Rows) Free() { r.device.Free() }

// Attention is causal attention within each row. q: [tokens, heads, dim]; k: [tokens, kv heads, dim]; v: the same, or
// [tokens, kv heads·dim]. Out: [tokens, heads, dim].
func Attention(q, k, v Tensor, r Rows, s Scoring) Tensor {
	var out C.hten
	var e *C.char
	check("attention", C.hone_attention(&out, q.h(), k.h(), v.h(), shapePtr(r.Borders), C.int(len(r.Borders)), r.device.h(), C.int64_t(r.longest),
		C.double(s.Scale), C.int64_t(s.Window), C.double(s.Cap), &e), e)
	return wrap(out)
}

// CacheWrite puts the rows of k and v at the start of the slots of a cache [slots, kv heads, length, dim].
func CacheWrite(k, v, keys, values Tensor, slots, borders []int64) {
	if len(borders) != len(slots)+1 {
		panic(&Error{"cache", "borders are wanted around each slot's tokens"})
	}
	var e *C.char
	check("cache", C.hone_cache_write(k.h(), v.h(), keys.h(), values.h(), shapePtr(slots), shapePtr(borders), C.int(len(slots)), &e), e)
}

// Places is where one token a row goes in a cache: to its slot, where it becomes number Lengths[i]-1.
type Places struct {
	Slots, Lengths      []int64
	place, where, until Tensor // the same for a composite, see attend in composite.hpp
	used, starts, each  Tensor // and for flash attention
	top                 int64
}

// NewPlaces makes the places in a cache like keys [slots, kv heads, length, dim] known to the device.
func NewPlaces(slots, lengths []int64, keys Tensor) Places {
	p := Places{Slots: slots, Lengths: lengths}
	if !OnDevice() && !composites {
		return p
	}
	rows := int64(len(slots))
	same := true
	for i, slot := range slots {
		p.top = max(p.top, lengths[i])
		same = same && slot == int64(i)
	}
	shape := keys.Shape()
	p.place, p.until, p.used = Of(p.heads(shape), rows*shape[1]), Of(lengths, rows), Of(p.seen(shape[1]), rows*shape[1])
	p.starts, p.each = p.rows(shape)
	if !same {
		p.where = Of(slots, rows)
	}
	return p
}

// heads is where a token's key and value go in a cache of that shape, as a list of heads.
func (p Places) heads(shape []int64) (place []int64) {
	for i, slot := range p.Slots {
		for h := range shape[1] {
			place = append(place, (slot*shape[1]+h)*shape[2]+p.Lengths[i]-1)
		}
	}
	return place
}

// seen is how many tokens each row looks at, once for each of so many heads.
func (p Places) seen(heads int64) (used []int32) {
	for _, n := range p.Lengths {
		for range heads {
			used = append(used, int32(min(n, p.top)))
		}
	}
	return used
}

// rows is where the tokens of each row's heads begin in a cache of that shape, and the heads' numbers, each with a border more.
func (p Places) rows(shape []int64) (starts, each Tensor) {
	var from, number []int32
	for _, slot := range p.Slots {
		for h := range shape[1] {
			from, number = append(from, int32((slot*shape[1]+h)*shape[2])), append(number, int32(len(number)))
		}
	}
	n := len(number)
	return Of(append(from, 0), int64(n+1)), Of(append(number, int32(n)), int64(n+1)) // lengths are read elsewhere: any border does
}

// FixedPlaces is memory that stays for the places of all slots of a cache like keys.
func FixedPlaces(keys Tensor) Places {
	shape := keys.Shape()
	p := Places{top: shape[2], Lengths: make([]int64, shape[0])}
	for i := range shape[0] {
		p.Slots = append(p.Slots, i)
		p.Lengths[i] = 1
	}
	p.place, p.until, p.used = Zeros(Int64, shape[0]*shape[1]).Forget(), Zeros(Int64, shape[0]).Forget(), Zeros(Int32, shape[0]*shape[1]).Forget()
	p.starts, p.each = p.rows(shape)
	p.starts.Forget()
	p.each.Forget()
	return p
}

// Put fills p, of a cache like keys, with other lengths, of which the first top tokens are looked at.
func (p *Places) Put(lengths []int64, top int64, keys Tensor) {
	copy(p.Lengths, lengths)
	p.top = top
	shape := keys.Shape()
	p.place.Put(bytesOf(p.heads(shape)))
	p.until.Put(bytesOf(lengths))
	p.used.Put(bytesOf(p.seen(shape[1])))
}

// Free releases the memory of FixedPlaces.
func (p Places) Free() {
	for _, t := range []Tensor{p.place, p.until, p.used, p.starts, p.each} {
		t.Free()
	}
}

// AttendCache appends one token a row to a cache and attends up to it. q: [rows, heads, dim]; k, v: [rows, kv heads, dim];
// out: [rows, heads, dim].
func AttendCache(q, k, v, keys, values Tensor, p Places, s Scoring) Tensor {
	if rows := q.Shape()[0]; int64(len(p.Slots)) != rows || int64(len(p.Lengths)) != rows {
		panic(&Error{"attend", "slots and lengths are wanted for each row"})
	}
	var out C.hten
	var e *C.char
	check("attend", C.hone_attend_cache(&out, q.h(), k.h(), v.h(), keys.h(), values.h(), shapePtr(p.Slots), shapePtr(p.Lengths),
		p.place.h(), p.where.h(), p.until.h(), p.used.h(), p.starts.h(), p.each.h(), C.int64_t(p.top), C.double(s.Scale), C.int64_t(s.Window), C.double(s.Cap), &e), e)
	return wrap(out)
}

// Head is the projection to the vocabulary: the logits x·weightᵀ, or cap·tanh(x·weightᵀ/cap). Weight: [vocabulary, dim].
type Head struct {
	Weight Tensor
	Cap    float64 // 0 is none
}

// Labels is what the rows of a vocabulary projection are to say.
type Labels struct {
	IDs     Tensor // [rows] int64
	Weights Tensor // [rows] float32
	DFT     bool   // Weights are multiplied by the labels' probabilities, as constants (dynamic fine-tuning, Wu et al. 2025)
}

// CrossEntropy is -Σ weights·logp (a scalar that must be the end of the graph) and logp [rows], the log-likelihood of the labels
// under the softmax of head's logits of x, with chunk rows of logits held at once; stats [rows, 2] is their Entropy and Likeliest.
// x: [rows, dim].
func CrossEntropy(x Tensor, head Head, l Labels, chunk int) (loss, logp, stats Tensor) {
	var out, p, s C.hten
	var e *C.char
	dft := C.int(0)
	if l.DFT {
		dft = 1
	}
	check("cross entropy", C.hone_cross_entropy(&out, &p, &s, x.h(), head.Weight.h(), l.IDs.h(), l.Weights.h(), dft, C.double(head.Cap), C.int64_t(chunk), &e), e)
	return wrap(out), wrap(p), wrap(s)
}

// TokenStats is what a forward pass tells of a token beside its log-likelihood: three numbers a row of LogProbs' second result.
const (
	Entropy   = iota // of the distribution that the token is drawn from, in nats
	Likeliest        // 1 where the token is the likeliest
	MeanLogit        // over the vocabulary, unscaled
	TokenStats
)

// LogProbs is the log-likelihoods [rows] of labels [rows] under the softmax of scale·logits, differentiable in x and head, with chunk
// rows of logits held at once; the backward pass computes them again. stats [rows, TokenStats] where it is wanted. x: [rows, dim].
func LogProbs(x Tensor, head Head, labels Tensor, scale float64, chunk int, wantStats bool) (logp, stats Tensor) {
	var p, s C.hten
	var at *C.hten
	var e *C.char
	if wantStats {
		at = &s
	}
	check("log probs", C.hone_log_probs(&p, at, x.h(), head.Weight.h(), labels.h(), C.double(scale), C.double(head.Cap), C.int64_t(chunk), &e), e)
	if !wantStats {
		return wrap(p), Tensor{}
	}
	return wrap(p), wrap(s)
}

// SumSquares is the sum of the squares of a flat float32 buffer.
func SumSquares(x Tensor) float64 {
	var out C.double
	var e *C.char
	check("sum of squares", C.hone_sum_squares(x.h(), &out, &e), e)
	return float64(out)
}
