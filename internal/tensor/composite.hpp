// The composites: every operator of ours as operations of libtorch, for tensors on a device. Same mathematics, same arguments;
// an operator's own file asks composite() which to take, after device_kernels(). They run on the CPU too, where tests hold them against
// the kernels.
#pragma once
#include "ops_common.h"

namespace hone::stock {
// Sums are in the accumulation type, as in the kernels.
inline Tensor wide(const Tensor &x) { return x.to(acc_dtype(x)); }

struct Norm { Tensor out, mean, rstd; };

// out = s·rstd·(w + shift), rstd = 1/√(mean(s²) + eps). libtorch fuses it on a device alone.
inline Norm rmsnorm(const Tensor &s, const Tensor &w, double eps, double shift, at::ScalarType to) {
  Tensor x = wide(s), v = shift == 0 ? w : w + shift;
  if (!x.is_cpu()) {
    auto [y, rstd] = at::_fused_rms_norm(x, {x.size(-1)}, v, eps);
    return {y.to(to), {}, rstd};
  }
  Tensor rstd = (x.square().mean(-1, true) + eps).rsqrt();
  return {(x * rstd * v).to(to), {}, rstd};
}
// The gradients by s and, where train, by w.
inline std::pair<Tensor, Tensor> rmsnorm_back(const Tensor &dy, const Tensor &s, const Tensor &w, const Tensor &rstd, double shift, bool train) {
  Tensor x = wide(s), g = dy.to(x.scalar_type()), v = shift == 0 ? w : w + shift;
  if (!x.is_cpu()) {
    auto [dx, dw] = at::_fused_rms_norm_backward(g, x, {x.size(-1)}, rstd, v, {true, train});
    return {dx, dw};
  }
  Tensor y = x * rstd, gv = g * v;
  return {rstd * (gv - y * (gv * y).mean(-1, true)), train ? (g * y).reshape({-1, x.size(-1)}).sum(0) : Tensor()};
}
inline Norm layernorm(const Tensor &s, const Tensor &w, const Tensor &b, double eps, at::ScalarType to) {
  auto [y, mean, rstd] = at::native_layer_norm(wide(s), {s.size(-1)}, w, b, eps);
  return {y.to(to), mean, rstd};
}
// The gradient of a norm's input joins the stream's own, ds, and is handed to the residual in its dtype.
inline variable_list joined(Tensor dx, const Tensor &ds, const Tensor &sum, bool residual, at::ScalarType to) {
  dx = ds.defined() ? ds + dx : dx.to(sum.scalar_type());
  return {dx, residual ? dx.to(to) : Tensor()};
}

// See the kernel. x: [rows, heads·dim] or [rows, heads, dim].
inline Tensor rope(const Tensor &x, const Tensor &cos, const Tensor &sin, const Tensor &position, int64_t heads, int sign) {
  int64_t rows = x.size(0), dim = x.numel() / rows / heads, pairs = cos.size(1), rot = 2 * pairs;
  Tensor h = x.dim() == 3 ? x : x.unflatten(1, {heads, dim});
  Tensor c = cos.index_select(0, position).unsqueeze(1), s = sin.index_select(0, position).unsqueeze(1); // [rows, 1, pairs]
  Tensor half = h.narrow(2, 0, rot).unflatten(2, {2, pairs}), t = half * c.unsqueeze(1);
  t.select(2, 0).addcmul_(half.select(2, 1), s, -sign);
  t.select(2, 1).addcmul_(half.select(2, 0), s, sign);
  Tensor y = at::empty({rows, heads, dim}, x.options());
  y.narrow(2, 0, rot).unflatten(2, {2, pairs}).copy_(t);
  if (rot < dim) y.narrow(2, rot, dim - rot).copy_(h.narrow(2, rot, dim - rot));
  return y;
}

// The units of a gate: what it computes, and its gradient by its input.
struct Silu {
  static Tensor forward(const Tensor &x) { return at::silu(x); }
  static void back(Tensor out, const Tensor &dy, const Tensor &x) { at::silu_backward_out(out, dy, x); }
};
struct Gelu {
  static Tensor forward(const Tensor &x) { return at::gelu(x, "tanh"); }
  static void back(Tensor out, const Tensor &dy, const Tensor &x) { at::gelu_backward_out(out, dy, x, "tanh"); }
};
template <class Unit>
Tensor gate(const Tensor &gu) {
  int64_t f = gu.size(1) / 2;
  return Unit::forward(gu.narrow(1, 0, f)).mul_(gu.narrow(1, f, f));
}
template <class Unit>
Tensor gate_back(const Tensor &dy, const Tensor &gu) {
  int64_t f = gu.size(1) / 2;
  Tensor d = at::empty_like(gu), g = gu.narrow(1, 0, f), up = d.narrow(1, f, f);
  at::mul_out(up, dy, Unit::forward(g));
  Unit::back(d.narrow(1, 0, f), dy * gu.narrow(1, f, f), g);
  return d;
}

// The device's own generator (Philox), begun anew at a key, or going on where that is 0: recorded work begins it before it is replayed.
inline void begin_draws(c10::Device device, uint64_t key) {
  if (!key) return;
  at::Generator g = at::globalContext().defaultGenerator(device);
  std::lock_guard<std::mutex> lock(g.mutex());
  g.set_current_seed(key);
}
// Dropout, drawn by that, and which elements it kept, for the pass back.
inline std::tuple<Tensor, Tensor> dropped(const Tensor &x, double p, uint64_t key) {
  begin_draws(x.device(), key);
  return at::native_dropout(x, p, true);
}
inline Tensor dropped_again(const Tensor &x, const Tensor &kept, double p) { return at::native_dropout_backward(x, kept, 1 / (1 - p)); }

// Softmax of scores z [kv heads, group·(b - a), keys], of queries a ≤ i < b (a group's beneath one another) and the keys from
// `first` on: query i sees keys i - window < j ≤ i.
inline Tensor seen(const Tensor &z, int64_t a, int64_t b, int64_t first, int64_t window) {
  auto whole = z.options().dtype(at::kLong);
  Tensor i = at::arange(a, b, whole).unsqueeze(1), j = at::arange(first, b, whole);
  Tensor m = j <= i;
  return window ? m.logical_and_(j > i - window) : m;
}
inline Tensor capped(const Tensor &z, double scale, double cap) {
  Tensor s = wide(z) * scale;
  return cap == 0 ? s : (s / cap).tanh_().mul_(cap);
}
inline Tensor weigh(const Tensor &z, int64_t a, int64_t b, int64_t first, int64_t window, double scale, double cap) {
  Tensor s = capped(z, scale, cap).unflatten(1, {-1, b - a}).masked_fill(seen(z, a, b, first, window).logical_not_(), -INFINITY);
  return at::softmax(s, -1).flatten(1, 2).to(z.scalar_type());
}
// dp, the gradient by the weights p that came of z, becomes that by z.
inline void weigh_back(const Tensor &z, const Tensor &p, Tensor dp, double scale, double cap) {
  Tensor w = wide(p), d = wide(dp);
  d = w * (d - (d * w).sum(-1, true)) * scale;
  if (cap != 0) d = d * (1 - (wide(z) * (scale / cap)).tanh_().square_());
  dp.copy_(d);
}

// Whether libtorch's flash attention over rows behind one another (Dao 2023) takes these.
inline bool flash(const Tensor &q, double cap) {
  return q.is_cuda() && cap == 0 && q.size(2) % 8 == 0 && q.size(2) <= 256 && (q.scalar_type() == at::kBFloat16 || q.scalar_type() == at::kHalf);
}

// Whether its memory-efficient attention (Rabe & Staats 2021) takes these in float32; the rest is computed a row at a time.
inline bool efficient(const Tensor &q, double cap) { return q.is_cuda() && cap == 0 && q.size(2) % 4 == 0 && q.scalar_type() != at::kDouble; }
// It wants a key and a value for each head.
inline Tensor for_heads(const Tensor &x, int64_t heads) {
  return x.to(at::kFloat).unsqueeze(2).expand({x.size(0), x.size(1), heads / x.size(1), x.size(2)}).reshape({1, x.size(0), heads, x.size(2)});
}
inline Tensor from_heads(const Tensor &g, const Tensor &x) { // the gradient by x
  return g.squeeze(0).unflatten(1, {x.size(1), g.size(2) / x.size(1)}).sum(2).to(x.scalar_type());
}

// x·y of batches of matrices, in the accumulation type where the device can.
inline Tensor products(const Tensor &x, const Tensor &y) {
  return x.is_cuda() && x.scalar_type() != acc_dtype(x) ? at::bmm(x, y, acc_dtype(x)) : wide(at::bmm(x, y));
}

// While it lives operations need not be deterministic.
struct WithoutOrder {
  bool was = at::globalContext().deterministicAlgorithms();
  WithoutOrder() { at::globalContext().setDeterministicAlgorithms(false, false); }
  ~WithoutOrder() { at::globalContext().setDeterministicAlgorithms(was, false); }
};

// One token a row over a cache; see hone_attend_cache. place: [rows·kv heads], where k and v go in the cache as rows of dim;
// slots, lengths: [rows]; top is no less than any length. With slots absent row i is slot i. To flash attention each kv head of a row is a
// row of its own, with one new token and its group's queries as heads: used is their lengths [rows·kv heads]; starts, where their keys
// begin in the cache, and each, their numbers, have a border more. int32, as it takes them.
struct CacheRows { optional<Tensor> used, starts, each; };
inline Tensor attend(const Tensor &q, const Tensor &k, const Tensor &v, const Tensor &keys, const Tensor &values, const Tensor &place,
                     const optional<Tensor> &slots, const Tensor &lengths, const CacheRows &own, int64_t top, double scale, int64_t window, double cap) {
  int64_t rows = q.size(0), n = keys.size(1), dim = keys.size(3), group = q.size(1) / n;
  WithoutOrder any; // no place twice: nothing to put in order
  keys.view({-1, dim}).index_copy_(0, place, k.reshape({-1, dim}));
  values.view({-1, dim}).index_copy_(0, place, v.reshape({-1, dim}));
  if (flash(q, cap) && !window && own.used) {
    auto [o, lse, state, unused, debug] = at::_flash_attention_forward(q.view({rows * n, group, dim}), keys.view({-1, 1, dim}), values.view({-1, 1, dim}),
        own.each, own.starts, 1, top, 0, false, false, scale, {}, {}, own.used);
    return o.view(q.sizes());
  }
  auto of = [&](const Tensor &cache) {
    return (slots ? cache.narrow(2, 0, top).index_select(0, *slots) : cache.narrow(0, 0, rows).narrow(2, 0, top)).flatten(0, 1);
  };
  Tensor s = capped(products(q.view({rows * n, group, dim}), of(keys).transpose(1, 2)), scale, cap).view({rows, n * group, top});
  Tensor j = at::arange(top, lengths.options()), last = lengths.view({-1, 1, 1});
  Tensor hidden = j >= last;
  if (window) hidden = hidden.logical_or_(j < last - window);
  Tensor p = at::softmax(s.masked_fill_(hidden, -INFINITY), -1).to(q.scalar_type());
  return at::bmm(p.view({rows * n, group, top}), of(values)).view(q.sizes());
}

// a·b of matrices, in the accumulation type where the device can.
inline Tensor product(const Tensor &a, const Tensor &b) {
  return a.is_cuda() && a.scalar_type() != acc_dtype(a) ? at::mm(a, b, acc_dtype(a)) : at::mm(a, b);
}
// The gradient of -logp by the logits: the softmax, less one at the label. lp is the log-softmax, which is spent, and logp its values at
// the labels l [rows, 1].
inline Tensor unlikely(Tensor lp, const Tensor &l, const Tensor &logp, at::ScalarType to) {
  Tensor p = lp;
  if (to == lp.scalar_type()) p.exp_();
  else at::exp_out(p = at::empty(lp.sizes(), lp.options().dtype(to)), lp);
  WithoutOrder any; // no place twice
  return p.scatter_(1, l, logp.expm1().to(to).unsqueeze(1));
}
// See the kernels. Where weight is given, z becomes the gradient of -logp, in dtype `to`, and what its rows are to be multiplied with is
// returned: a pass over [rows, vocabulary] less.
inline Tensor cross_entropy(Tensor &z, const Tensor &label, const optional<Tensor> &weight, bool dft, Tensor logp, Tensor stats, at::ScalarType to) {
  if (auto k = device_kernels(z)) {
    Tensor dz = weight ? at::empty(z.sizes(), z.options().dtype(to)) : Tensor();
    launched(k->softmax(int(z.scalar_type()), int(to), z.data_ptr(), 1, ptr<int64_t>(label), logp.data_ptr(), nullptr, data_of(dz), z.size(0), z.size(1)));
    if (!weight) return {};
    z = dz;
    return dft ? *weight * logp.exp() : *weight;
  }
  Tensor l = label.unsqueeze(1), lp = at::_log_softmax(wide(z), 1, false);
  logp.copy_(lp.gather(1, l).squeeze(1));
  if (z.is_cpu()) { // on a device nobody reads them
    stats.select(1, 0).copy_((lp.exp() * lp).sum(1).neg_());
    stats.select(1, 1).copy_(z.argmax(1).eq(label));
  }
  if (!weight) return {};
  z = unlikely(lp, l, logp, to);
  return dft ? *weight * logp.exp() : *weight;
}
inline void log_probs(const Tensor &z, const Tensor &label, double scale, Tensor logp, Tensor lse, const optional<Tensor> &stats) {
  auto k = device_kernels(z);
  if (k && !stats) {
    launched(k->softmax(int(z.scalar_type()), int(z.scalar_type()), z.data_ptr(), scale, ptr<int64_t>(label), logp.data_ptr(), lse.data_ptr(), nullptr, z.size(0), z.size(1)));
    return;
  }
  Tensor l = label.unsqueeze(1), lp = at::_log_softmax(scale == 1 ? wide(z) : wide(z) * scale, 1, false);
  logp.copy_(lp.gather(1, l).squeeze(1));
  lse.copy_((wide(z.gather(1, l)) * scale).squeeze(1) - logp);
  if (!stats) return;
  stats->select(1, 0).copy_((lp.exp() * lp).sum(1).neg_());
  stats->select(1, 1).copy_(z.argmax(1).eq(label));
  stats->select(1, 2).copy_(wide(z).mean(1));
}
// Likewise.
inline Tensor log_probs_back(Tensor &z, const Tensor &label, double scale, const Tensor &lse, const Tensor &grad, at::ScalarType to) {
  if (auto k = device_kernels(z)) {
    Tensor dz = at::empty(z.sizes(), z.options().dtype(to));
    launched(k->softmax(int(z.scalar_type()), int(to), z.data_ptr(), scale, ptr<int64_t>(label), nullptr, nullptr, dz.data_ptr(), z.size(0), z.size(1)));
    z = dz;
    return grad * -scale;
  }
  Tensor l = label.unsqueeze(1), lp = at::add(lse.neg().unsqueeze(1), wide(z), scale);
  z = unlikely(lp, l, lp.gather(1, l).squeeze(1), to);
  return grad * -scale;
}

// What an update reads of its step (Controls in update.go), as scalars on the device: a recorded update reads them anew.
struct Step {
  Tensor rate, scale, age, bad;
  Step(const Tensor &control, double rate) {
    Tensor c = control.to(at::kFloat);
    this->rate = rate == 1 ? c.select(0, 0) : c.select(0, 0) * rate;
    scale = c.select(0, 1), age = c.select(0, 2), bad = c.select(0, 3);
  }
  // g as it counts: scaled, and nothing in a step that is bad.
  Tensor scaled(const Tensor &g) const { return (g * scale).masked_fill_(bad.to(at::kBool), 0); }
  Tensor keep(double decay) const { return 1 - rate * decay; }
};
// The rules below see the kernels. AdamW is libtorch's fused operation.
inline void adamw(const Tensor &w, const Tensor &g, const Tensor &m, const Tensor &v, const Step &s, double beta1, double beta2, double eps, double decay) {
  at::_fused_adamw_({w}, {g}, {m}, {v}, {}, {s.age}, s.rate, beta1, beta2, decay, eps, false, false, s.scale.reciprocal(), s.bad);
  Tensor(g).zero_();
}
inline void lion(Tensor w, Tensor g, Tensor m, const Step &s, double beta1, double beta2, double decay) {
  Tensor u = s.scaled(g), c = at::add(m * beta1, u, 1 - beta1).sign_();
  w.mul_(s.keep(decay)).sub_(c.mul_(s.rate));
  m.mul_(beta2).add_(u, 1 - beta2);
  g.zero_();
}
// row and column are absent for a vector, whose squares are all in v.
inline void adafactor(Tensor w, Tensor g, Tensor row, Tensor column, Tensor v, const Step &s, double decay) {
  Tensor u = s.scaled(g), squares = u.square().add_(1e-30), fresh = 1 - s.age;
  if (v.defined()) {
    u.mul_(v.mul_(s.age).add_(squares * fresh).rsqrt());
  } else {
    row.mul_(s.age).add_(squares.mean(1) * fresh);
    column.mul_(s.age).add_(squares.mean(0) * fresh);
    u.mul_((row / row.mean()).rsqrt_().unsqueeze(1)).mul_(column.rsqrt());
  }
  Tensor size = u.square().mean().sqrt_().clamp_min_(1);
  w.mul_(s.keep(decay)).sub_(u.mul_(s.rate / size));
  g.zero_();
}
} // namespace hone::stock
