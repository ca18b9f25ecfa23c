// Every function of ops.h on libtorch under the address and undefined-behaviour sanitizers: `just sanitize`. Shapes are a multiple of
// nothing, rows stand apart in memory, gradients are taken; then arguments that do not fit, each of which must come back as a
// message. What the operators compute is tested in Go.
#include <ATen/ATen.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <utility>
#include <vector>

#include "../ops.h"
using at::Tensor;
using Ints = std::vector<int64_t>;

// Given a null tensor libtorch itself would crash: operators say that it is absent.
static hten h(Tensor &t) { return t.defined() ? &t : nullptr; }

static int failures, accepted, refusals;

static void fail(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  failures++;
}
using Call = std::function<int(char **)>;
static void accept(const char *what, const Call &call) {
  char *err = nullptr;
  accepted++;
  if (call(&err)) fail(what, err);
  free(err);
}
static void refuse(const char *what, const Call &call) {
  char *err = nullptr;
  refusals++;
  if (!call(&err)) fail(what, "accepted");
  else if (!err || !*err) fail(what, "refused without a message");
  free(err);
}

// The result of a call with one output, and the gradients of its sum.
static Tensor take(hten out) {
  Tensor t = out ? *static_cast<Tensor *>(out) : Tensor();
  hone_free(out);
  return t;
}
using Unary = std::function<int(hten *, char **)>;
static Tensor one(const char *what, const Unary &call) {
  hten out = nullptr;
  accept(what, [&](char **err) { return call(&out, err); });
  return take(out);
}
static void not_one(const char *what, const Unary &call) {
  hten out = nullptr;
  refuse(what, [&](char **err) { return call(&out, err); });
  hone_free(out);
}
static void back(const char *what, std::vector<Tensor> outs) {
  std::vector<hten> o, g;
  std::vector<Tensor> grads;
  for (Tensor &t : outs) grads.push_back(at::randn(t.transpose(0, -1).sizes(), t.options()).transpose(0, -1)); // dense nowhere
  for (size_t i = 0; i < outs.size(); i++) o.push_back(&outs[i]), g.push_back(&grads[i]);
  accept(what, [&](char **err) { return hone_backward(o.data(), g.data(), int(o.size()), err); });
}

static at::TensorOptions of(at::ScalarType d) { return at::TensorOptions().dtype(d); }
static Tensor leaf(at::IntArrayRef shape, at::ScalarType d, bool train = true) { return at::randn(shape).to(d).set_requires_grad(train); }
// rows × columns that stand apart in memory, at the end of their allocation.
static Tensor apart(int64_t rows, int64_t columns, at::ScalarType d) { return at::randn({rows, columns + 5}).to(d).narrow(1, 5, columns); }
static Tensor ids(int64_t n, int64_t below) { return at::randint(below, {n}, of(at::kLong)); }

static void norms(at::ScalarType d, at::ScalarType to, Tensor x, Tensor strided, bool train) {
  int64_t in = x.size(1);
  auto acc = d == at::kDouble ? at::kDouble : at::kFloat;
  Tensor none, r = leaf(x.sizes(), to, train), w = leaf({in}, acc, train), b = leaf({in}, acc, train);
  auto both = [&](const char *what, const std::function<int(hten *, hten *, char **)> &call) {
    for (int used : {1, 2, 3}) { // of the sum and of what is normalised, those that have a gradient
      hten s = nullptr, o = nullptr;
      accept(what, [&](char **e) { return call(&s, &o, e); });
      Tensor sum = take(s), out = take(o);
      std::vector<Tensor> outs;
      if (sum.defined() && used & 1) outs.push_back(sum);
      if (!sum.defined() || used & 2) outs.push_back(out);
      if (train) back(what, outs);
    }
  };
  for (Tensor *res : {&none, &r}) {
    for (Tensor v : {x, strided}) both("rmsnorm", [&](hten *s, hten *o, char **e) { return hone_rmsnorm(s, o, h(v), h(*res), h(w), 1e-5, 1, int(to), e); });
    both("layernorm", [&](hten *s, hten *o, char **e) { return hone_layernorm(s, o, h(x), h(*res), h(w), h(b), 1e-5, int(to), e); });
  }
}

static void whole(at::ScalarType d, int64_t rows, int64_t in, int64_t n) {
  auto acc = d == at::kDouble ? at::kDouble : at::kFloat;
  for (bool train : {true, false}) {
    Tensor w = leaf({n, in}, d, train), none, bias = leaf({n}, d, train), x = leaf({rows, in}, d, train), id = ids(rows, n);
    Tensor y = one("embedding", [&](hten *o, char **e) { return hone_embedding(o, h(w), h(id), 1, e); });
    if (train) back("embedding backward", {y});
    for (Tensor *b : {&none, &bias})
      for (Tensor v : {x, apart(rows, in, d)}) {
        y = one("linear", [&](hten *o, char **e) { return hone_linear(o, h(v), h(w), h(*b), int(w.scalar_type()), e); });
        if (train) back("linear backward", {y});
      }
    norms(d, d, x, apart(rows, in, d), train);
    if (d == at::kFloat) norms(d, at::kBFloat16, x, apart(rows, in, d), train);
    Tensor gu = leaf({rows, 2 * in}, d, train);
    for (auto gate : {hone_swiglu, hone_geglu, hone_gelu}) {
      y = one("activation", [&](hten *o, char **e) { return gate(o, h(gu), e); });
      if (train) back("activation backward", {y});
    }

    int64_t sizes[] = {1, in - 1, in};
    hten parts[3] = {};
    accept("split", [&](char **e) { return hone_split(parts, h(gu), sizes, 3, e); });
    Tensor p0 = take(parts[0]), p1 = take(parts[1]);
    take(parts[2]);
    if (train) back("split backward", {p0, p1});

    Tensor weights = at::ones({rows}, of(acc)), hidden = leaf({rows, in}, d, train), head = leaf({n, in}, d, train);
    for (double cap : {0.0, 3.0})
      for (int64_t chunk : {1, 7, 1000}) {
        hten l = nullptr, p = nullptr, s = nullptr;
        accept("cross entropy", [&](char **e) { return hone_cross_entropy(&l, &p, &s, h(hidden), h(head), h(id), h(weights), chunk == 7, cap, chunk, e); });
        Tensor loss = take(l), logp = take(p), stats = take(s);
        hten o = &loss, g = nullptr;
        if (train) accept("cross entropy backward", [&](char **e) { return hone_backward(&o, &g, 1, e); });
        for (hten *stats : {(hten *)nullptr, &l}) {
          l = nullptr;
          logp = one("log probs", [&](hten *o, char **e) { return hone_log_probs(o, stats, h(hidden), h(head), h(id), 0.7, cap, chunk, e); });
          take(l);
          if (train) back("log probs backward", {logp});
        }
      }
    // two adapters of rank 3 on a fused weight
    int64_t part[] = {0, 1, 1, n - 1};
    double scales[] = {2, 0.5};
    Tensor a = leaf({6, in}, d), b = leaf({n, 3}, d);
    for (double dropout : {0.0, 0.5}) {
      y = one("lora", [&](hten *o, char **e) { return hone_lora(o, h(x), h(w), h(bias), h(a), h(b), nullptr, nullptr, part, 2, scales, dropout, 7, int(w.scalar_type()), e); });
      back("lora backward", {y});
    }
    int64_t rows_of[] = {1, n - 1};
    Tensor m = leaf({n}, acc), frozen = w.detach();
    for (int nested : {-1, 0, 1}) { // dense, NF4, quantised doubly
      Tensor weight = frozen;
      if (nested >= 0) {
        weight = one("nf4", [&](hten *o, char **e) { return hone_nf4_empty(o, int(d), nested, in, rows_of, 2, e); });
        for (int64_t i : {0, 1}) {
          Tensor dense = at::randn({rows_of[i], in});
          accept("nf4 pack", [&](char **e) { return hone_nf4_pack(h(weight), i, h(dense), e); });
        }
        y = one("linear in NF4", [&](hten *o, char **e) { return hone_linear(o, h(x), h(weight), h(bias), int(d), e); });
        if (x.requires_grad()) back("linear in NF4 backward", {y});
      }
      Tensor wide_a = a.detach().to(acc), wide_b = b.detach().to(acc);
      Tensor norms = one("row norms", [&](hten *o, char **e) { return hone_row_norms(o, h(weight), h(wide_a), h(wide_b), part, 2, scales, e); });
      for (double dropout : {0.0, 0.5}) {
        y = one("dora", [&](hten *o, char **e) { return hone_lora(o, h(x), h(weight), h(bias), h(a), h(b), h(m), h(norms), part, 2, scales, dropout, 7, int(d), e); });
        back("dora backward", {y});
      }
    }
  }
}

static void attention(at::ScalarType d, Ints lengths, int64_t kv, int64_t group, int64_t dim) {
  Ints borders{0};
  for (int64_t n : lengths) borders.push_back(borders.back() + n);
  int64_t tokens = borders.back(), heads = kv * group, rows = int64_t(lengths.size());
  for (bool train : {true, false}) {
    Tensor x = leaf({tokens, (heads + 2 * kv) * dim}, d, train), cos = at::rand({40, dim / 2}), sin = at::rand({40, dim / 2}), position = ids(tokens, 40);
    int64_t sizes[] = {heads * dim, kv * dim, kv * dim};
    hten cut[3] = {};
    accept("split", [&](char **e) { return hone_split(cut, h(x), sizes, 3, e); });
    Tensor q = take(cut[0]), k = take(cut[1]), v = take(cut[2]);
    q = one("rope", [&](hten *o, char **e) { return hone_rope(o, h(q), h(cos), h(sin), h(position), heads, e); });
    k = one("rope", [&](hten *o, char **e) { return hone_rope(o, h(k), h(cos), h(sin), h(position), kv, e); });
    const std::pair<int64_t, double> scorings[] = {{0, 0}, {1, 0}, {3, 0}, {0, 5}, {40, 5}}; // window, cap
    for (auto [window, cap] : scorings) {
      Tensor qs = q, ks = k, vs = v; // the first goes back through rope and split, the others end here
      if (window > 0 || cap > 0)
        for (Tensor *t : {&qs, &ks, &vs}) *t = t->detach().set_requires_grad(train);
      Tensor y = one("attention", [&](hten *o, char **e) { return hone_attention(o, h(qs), h(ks), h(vs), borders.data(), int(borders.size()), nullptr, 0, 0.3, window, cap, e); });
      if (train) back("attention backward", {y});
    }
    if (train) continue;

    int64_t room = tokens + 1;
    Tensor keys = at::zeros({rows + 1, kv, room, dim}, of(d)), values = at::zeros_like(keys);
    Ints slots, long_(lengths);
    for (int64_t r = rows; r > 0; r--) slots.push_back(r);
    accept("cache write", [&](char **e) { return hone_cache_write(h(k), h(v), h(keys), h(values), slots.data(), borders.data(), int(rows), e); });
    for (int64_t &n : long_) n++;
    Tensor q1 = q.narrow(0, 0, rows).contiguous();
    for (auto [window, cap] : scorings)
      one("attend", [&](hten *o, char **e) { return hone_attend_cache(o, h(q1), h(k), h(v), h(keys), h(values), slots.data(), long_.data(), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 0, 0.3, window, cap, e); });
    const std::pair<int64_t, double> wrong[] = {{-1, 0}, {0, -1}, {0, NAN}};
    for (auto [window, cap] : wrong) {
      not_one("attention", [&](hten *o, char **e) { return hone_attention(o, h(q), h(k), h(v), borders.data(), int(borders.size()), nullptr, 0, 0.3, window, cap, e); });
      not_one("attend", [&](hten *o, char **e) { return hone_attend_cache(o, h(q1), h(k), h(v), h(keys), h(values), slots.data(), long_.data(), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 0, 0.3, window, cap, e); });
    }

    // what does not fit
    auto wide = d == at::kDouble ? at::kFloat : at::kDouble;
    auto attend = [&](Tensor q, Tensor k, Tensor v, Ints b) {
      not_one("attention", [&](hten *o, char **e) { return hone_attention(o, h(q), h(k), h(v), b.data(), int(b.size()), nullptr, 0, 0.3, 0, 0, e); });
    };
    Tensor none, other = at::zeros({tokens, kv + heads, dim}, of(d)), ints = at::zeros(q.sizes(), of(at::kLong)), flat = q.flatten(1);
    attend(none, k, v, borders), attend(q, none, v, borders), attend(q, k, none, borders), attend(flat, k, v, borders), attend(ints, k, v, borders);
    attend(q, other, v, borders), attend(q, k, other, borders), attend(q, k, v.narrow(1, 0, 1), borders), attend(q, k.narrow(0, 0, tokens - 1), v, borders);
    attend(q, k.narrow(2, 0, dim - 1), v, borders), attend(q, k.to(wide), v, borders);
    if (heads > 1) attend(q.transpose(1, 2).contiguous().transpose(1, 2), k, v, borders);
    attend(q, k.narrow(1, 0, 0), v, borders);
    attend(q, k, v, {}), attend(q, k, v, {0, tokens + 1}), attend(q, k, v, {-1, tokens}), attend(q, k, v, {0, tokens - 1}), attend(q, k, v, {0, 0, tokens});
    attend(q, k, v, {0, tokens, 0, tokens});

    auto both = [&](Tensor k, Tensor v, Tensor keys, Tensor values) {
      refuse("cache write", [&](char **e) { return hone_cache_write(h(k), h(v), h(keys), h(values), slots.data(), borders.data(), int(rows), e); });
      not_one("attend", [&](hten *o, char **e) { return hone_attend_cache(o, h(q1), h(k), h(v), h(keys), h(values), slots.data(), long_.data(), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 0, 0.3, 0, 0, e); });
    };
    both(none, v, keys, values), both(k, none, keys, values), both(k, v, none, values), both(k, v, keys, none), both(k.to(wide), v, keys, values);
    both(k, v.to(wide), keys, values), both(k, v, keys, values.to(wide)), both(k, v, keys[0], values), both(k, v, keys.transpose(1, 3), values);
    both(other, v, keys, values), both(k, other, keys, values), both(k.narrow(2, 0, dim - 1), v, keys, values), both(k.narrow(0, 0, 0), v, keys, values);
    auto write = [&](Ints slot, Ints b) {
      refuse("cache write", [&](char **e) { return hone_cache_write(h(k), h(v), h(keys), h(values), slot.data(), b.data(), 1, e); });
    };
    write({-1}, {0, tokens}), write({rows + 1}, {0, tokens}), write({0}, {0, tokens + 1}), write({0}, {0, room + 1}), write({0}, {-1, tokens}), write({0}, {tokens, 0});
    for (Ints slot : {Ints(rows, -1), Ints(rows, rows + 1)})
      not_one("attend", [&](hten *o, char **e) { return hone_attend_cache(o, h(q1), h(k), h(v), h(keys), h(values), slot.data(), long_.data(), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 0, 0.3, 0, 0, e); });
    for (Ints n : {Ints(rows, 0), Ints(rows, room + 1)})
      not_one("attend", [&](hten *o, char **e) { return hone_attend_cache(o, h(q1), h(k), h(v), h(keys), h(values), slots.data(), n.data(), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 0, 0.3, 0, 0, e); });
    for (Tensor bad : {none, q1.flatten(1), q1.to(wide), q1.narrow(2, 0, dim - 1).contiguous(), at::cat({q1, q1.narrow(1, 0, 1)}, 1)})
      if (kv > 1 || !bad.defined() || bad.dim() != 3 || bad.size(1) == heads)
        not_one("attend", [&](hten *o, char **e) { return hone_attend_cache(o, h(bad), h(k), h(v), h(keys), h(values), slots.data(), long_.data(), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 0, 0.3, 0, 0, e); });

    auto rope = [&](Tensor x, Tensor cos, Tensor sin, Tensor position, int64_t heads) {
      not_one("rope", [&](hten *o, char **e) { return hone_rope(o, h(x), h(cos), h(sin), h(position), heads, e); });
    };
    rope(none, cos, sin, position, heads), rope(q, cos, sin, position, 0), rope(q, cos, sin, position, heads + 1), rope(q, cos, sin, position + 40, heads);
    rope(q, cos, sin, position - 41, heads), rope(q, cos.narrow(0, 0, 3), sin, position, heads), rope(q, cos.to(at::kDouble), sin, position, heads);
    if (dim > 2) rope(q, cos.t().contiguous().t(), sin, position, heads);
    rope(q, at::cat({cos, cos, cos}, 1), at::cat({sin, sin, sin}, 1), position, heads);
    rope(q, cos, sin, position.to(at::kInt), heads), rope(q, cos, sin, ids(tokens + 1, 3), heads), rope(q[0][0], cos, sin, position, heads);
    rope(q.narrow(0, 0, 0), cos, sin, ids(0, 3), heads), rope(q.transpose(1, 2), cos, sin, position, heads), rope(q, cos[0], sin[0], position, heads);
    rope(ints, cos, sin, position, heads);
  }
}

static void misfits() {
  Tensor none, x = leaf({3, 8}, at::kFloat), w = leaf({5, 8}, at::kFloat), label = ids(3, 5), weight = at::ones({3}), ones = at::ones({8});
  auto linear = [&](Tensor x, Tensor w, Tensor bias) { not_one("linear", [&](hten *o, char **e) { return hone_linear(o, h(x), h(w), h(bias), int(w.scalar_type()), e); }); };
  linear(none, w, none), linear(x, none, none), linear(x[0], w, none), linear(x, w[0], none), linear(x, w.unsqueeze(2), none), linear(x, x.t(), none);
  linear(x, w, at::ones({4})), linear(x, w, at::ones({5}, at::kDouble)), linear(x, w, at::ones({10}).slice(0, 0, 10, 2)), linear(x, w, at::ones({1, 5}));
  linear(x.to(at::kLong), w.to(at::kLong), none);
  for (int64_t rows : {0, 3}) { // no rows, no features: nothing to read
    Tensor e1 = at::zeros({rows, 0}), e2 = at::zeros({5, 0}), e3 = at::zeros({0, 8});
    one("linear", [&](hten *o, char **e) { return hone_linear(o, h(e1), h(e2), nullptr, int(e2.scalar_type()), e); });
    one("linear", [&](hten *o, char **e) { return hone_linear(o, h(e3), h(w), nullptr, int(w.scalar_type()), e); });
  }
  auto lora = [&](Tensor a, Tensor b, Ints parts, double dropout = 0) {
    std::vector<double> scales(parts.size() / 2, 1);
    not_one("lora", [&](hten *o, char **e) { return hone_lora(o, h(x), h(w), nullptr, h(a), h(b), nullptr, nullptr, parts.data(), int(parts.size() / 2), scales.data(), dropout, 1, int(w.scalar_type()), e); });
  };
  Tensor a = leaf({2, 8}, at::kFloat), b = leaf({5, 2}, at::kFloat);
  lora(none, b, {0, 5}), lora(a, none, {0, 5}), lora(a, b, {0, 6}), lora(a, b, {1, 5}), lora(a, b, {-1, 5}), lora(a, b, {0, 5, 0, 5}), lora(a, b, {0, -5}), lora(a, b, {});
  auto dora = [&](Tensor w, Tensor m, Tensor n) {
    int64_t parts[] = {0, 5};
    double scale = 1;
    not_one("dora", [&](hten *o, char **e) { return hone_lora(o, h(x), h(w), nullptr, h(a), h(b), h(m), h(n), parts, 1, &scale, 0, 1, int(at::kFloat), e); });
  };
  Tensor five = at::ones({5}), bytes = at::zeros({4000}, at::kByte), sizes = at::zeros({3}, at::kByte);
  dora(w, five, five), dora(w.detach(), five, none), dora(w.detach(), five, ones), dora(w.detach(), ones, five), dora(bytes, five, five);
  linear(x, bytes, none), linear(x, sizes, none), linear(x, at::zeros({5, 8}, at::kByte), none);
  for (int64_t rows : {-1, 0}) not_one("nf4", [&](hten *o, char **e) { return hone_nf4_empty(o, int(at::kFloat), 0, 8, &rows, 1, e); });
  int64_t five_rows = 5;
  Tensor packed = one("nf4", [&](hten *o, char **e) { return hone_nf4_empty(o, int(at::kFloat), 1, 8, &five_rows, 1, e); });
  linear(leaf({3, 7}, at::kFloat), packed, none), linear(x, packed, at::ones({4})), linear(x, packed.slice(0, 0, packed.numel() - 1), none);
  for (Tensor dense : {none, x, w.detach().to(at::kDouble), at::ones({8, 5}).t()}) refuse("nf4 pack", [&](char **e) { return hone_nf4_pack(h(packed), 0, h(dense), e); });
  Tensor dense = w.detach();
  for (int64_t part : {-1, 1}) refuse("nf4 pack", [&](char **e) { return hone_nf4_pack(h(packed), part, h(dense), e); });
  for (auto [r, n, c, k] : std::vector<std::array<int64_t, 4>>{{0, 6, 0, 8}, {-1, 2, 0, 8}, {0, 5, 1, 8}, {0, 5, -1, 3}, {0, -1, 0, 8}})
    not_one("nf4 block", [&, r = r, n = n, c = c, k = k](hten *o, char **e) { return hone_nf4_block(o, h(packed), r, n, c, k, e); });
  lora(a[0], b, {0, 5}), lora(a, b[0], {0, 5}), lora(a.t(), b, {0, 5}), lora(a.to(at::kDouble), b, {0, 5}), lora(a, b.to(at::kDouble), {0, 5}), lora(w, b, {0, 5}, 0.5);

  auto norm = [&](Tensor x, Tensor r, Tensor w) {
    hten s = nullptr, o = nullptr;
    refuse("rmsnorm", [&](char **e) { return hone_rmsnorm(&s, &o, h(x), h(r), h(w), 1e-5, 0, int(at::kFloat), e); });
    refuse("layernorm", [&](char **e) { return hone_layernorm(&s, &o, h(x), h(r), h(w), h(w), 1e-5, int(at::kFloat), e); });
    if (w.defined()) refuse("layernorm", [&](char **e) { return hone_layernorm(&s, &o, h(x), h(r), h(ones), nullptr, 1e-5, int(at::kFloat), e); });
  };
  norm(none, none, ones), norm(x, none, none), norm(x, none, at::ones({7})), norm(x, w, ones), norm(x, x.t(), ones), norm(x.to(at::kDouble), none, ones), norm(x.t(), none, weight);
  norm(x, x.to(at::kDouble), ones), norm(x.to(at::kLong), none, ones.to(at::kLong)), norm(at::ones({}), none, at::ones({1})), norm(at::ones({3, 0}), none, at::ones({0}));
  norm(x, x.to(at::kBFloat16), ones), norm(x.to(at::kBFloat16), none, ones), norm(x, none, ones.to(at::kBFloat16));
  norm(at::ones({3, 4, 16}).narrow(2, 0, 8), none, ones), norm(x, none, at::ones({16}).slice(0, 0, 16, 2));

  auto activation = [&](int (*f)(hten *, hten, char **), Tensor x) { not_one("activation", [&](hten *o, char **e) { return f(o, h(x), e); }); };
  for (auto f : {hone_swiglu, hone_geglu}) activation(f, at::ones({3, 7})), activation(f, x[0]);
  for (auto f : {hone_swiglu, hone_geglu, hone_gelu}) activation(f, none), activation(f, x.t()), activation(f, x.to(at::kLong));

  auto split = [&](Tensor x, Ints sizes) {
    std::vector<hten> o(sizes.size() + 1);
    refuse("split", [&](char **e) { return hone_split(o.data(), h(x), sizes.data(), int(sizes.size()), e); });
  };
  split(none, {8}), split(x, {4}), split(x, {4, 5}), split(x, {9, -1}), split(x, {}), split(x[0], {8}), split(x.unsqueeze(2), {8});

  auto entropy = [&](Tensor x, Tensor w, Tensor label, Tensor weight, int64_t chunk = 2) {
    hten l = nullptr, p = nullptr, s = nullptr;
    refuse("cross entropy", [&](char **e) { return hone_cross_entropy(&l, &p, &s, h(x), h(w), h(label), h(weight), 0, 0, chunk, e); });
  };
  auto log_probs = [&](Tensor x, Tensor w, Tensor label, double cap, int64_t chunk) {
    hten l = nullptr, s = nullptr;
    refuse("log probs", [&](char **e) { return hone_log_probs(&l, &s, h(x), h(w), h(label), 1, cap, chunk, e); });
  };
  log_probs(none, w, label, 0, 2), log_probs(x, none, label, 0, 2), log_probs(x, w, none, 0, 2), log_probs(x, w, label + 5, 0, 2), log_probs(x, w, label - 5, 0, 2);
  log_probs(x, w, label, 0, 0), log_probs(x, w, label, -1, 2), log_probs(x, w, label, NAN, 2), log_probs(x, w, ids(4, 5), 0, 2), log_probs(x, w.to(at::kDouble), label, 0, 2);
  log_probs(x.to(at::kLong), w.to(at::kLong), label, 0, 2), log_probs(x[0], w, label, 0, 2), log_probs(x, w[0], label, 0, 2), log_probs(x, w, ids(6, 5).slice(0, 0, 6, 2), 0, 2);
  entropy(none, w, label, weight), entropy(x, none, label, weight), entropy(x, w, none, weight), entropy(x, w, label, none), entropy(x, w, label, weight, 0);
  entropy(x, w, label + 5, weight), entropy(x, w, label - 5, weight), entropy(x, w, ids(4, 5), weight), entropy(x, w, label, at::ones({4})), entropy(x[0], w, label, weight);
  entropy(x, w, label.to(at::kInt), weight), entropy(x, w, label, weight.to(at::kDouble)), entropy(x, w, ids(6, 5).slice(0, 0, 6, 2), weight);
  entropy(x, w, label, at::ones({6}).slice(0, 0, 6, 2)), entropy(x, w, label, weight.unsqueeze(1)), entropy(x, w.to(at::kDouble), label, weight), entropy(x, w.t(), label, weight);
  for (bool train : {true, false}) { // no trained token
    Tensor xe = leaf({0, 8}, at::kFloat, train), le = ids(0, 5), we = at::ones({0});
    hten l = nullptr, p = nullptr, s = nullptr;
    accept("cross entropy", [&](char **e) { return hone_cross_entropy(&l, &p, &s, h(xe), h(w), h(le), h(we), 0, 0, 4, e); });
    take(l), take(p), take(s);
    one("log probs", [&](hten *o, char **e) { return hone_log_probs(o, nullptr, h(xe), h(w), h(le), 1, 0, 4, e); });
  }
  auto embedding = [&](Tensor w, Tensor id) { not_one("embedding", [&](hten *o, char **e) { return hone_embedding(o, h(w), h(id), -1, e); }); };
  embedding(none, label), embedding(w, none), embedding(w, label + 5), embedding(w, label - 5), embedding(w, weight), embedding(w, label.view({3, 1}));
}

static void flat_buffers() {
  for (int64_t n : {1, 17, 70001}) {
    Tensor w = at::randn({n}), g = at::randn({n}), m = at::zeros({n}), v = at::zeros({n}), wide = at::zeros({n}, of(at::kDouble)), none, strided = at::zeros({2 * n}).slice(0, 0, 2 * n, 2);
    Tensor control = at::tensor({1e-3, 1.0, 0.5, 0.0}, of(at::kDouble)), first = at::tensor({1e-3, 1.0, 1.0, 0.0}, of(at::kDouble));
    auto adamw = [&](Tensor w, Tensor g, Tensor m, Tensor v, Tensor control) {
      return [=](char **e) mutable { return hone_adamw(h(w), h(g), h(m), h(v), h(control), 1, 0.9, 0.999, 1e-8, 0.1, e); };
    };
    accept("adamw", adamw(w, g, m, v, first)), accept("adamw", adamw(w.slice(0, n / 2), g.slice(0, n / 2), m.slice(0, n / 2), v.slice(0, n / 2), first));
    for (auto &call : {adamw(w, g, m, v, control), adamw(w, g, m, v, first.to(at::kFloat)), adamw(w, g, m, v, first.slice(0, 0, 3)), adamw(w, g, m, v, none),
                       adamw(w, wide, m, v, first), adamw(none, g, m, v, first), adamw(w, g, at::zeros({n + 1}), v, first)})
      refuse("adamw", call);
    if (n > 1) refuse("adamw", adamw(w, g, m, strided, first));
    accept("lion", [&](char **e) { return hone_lion(h(w), h(g), h(m), h(control), 1, 0.9, 0.99, 0.1, e); });
    refuse("lion", [&](char **e) { return hone_lion(h(w), h(wide), h(m), h(control), 1, 0.9, 0.99, 0.1, e); });
    for (int64_t columns : {int64_t(1), n}) {
      int64_t place[] = {0, n / columns, columns, columns}, beyond[] = {1, n / columns, columns, columns}, empty[] = {0, 0, columns, columns};
      Tensor row = at::zeros({n / columns}), column = at::zeros({columns}), momentum = at::zeros({n / columns, columns});
      accept("adafactor", [&](char **e) { return hone_adafactor(h(w), h(g), h(row), h(column), h(control), place, 1, 0, e); });
      accept("muon", [&](char **e) { return hone_muon(h(w), h(g), h(momentum), h(control), place, 0.2, 1, 0.95, 0, e); });
      for (int64_t *bad : {beyond, empty}) {
        refuse("adafactor", [&](char **e) { return hone_adafactor(h(w), h(g), h(row), h(column), h(control), bad, 1, 0, e); });
        refuse("muon", [&](char **e) { return hone_muon(h(w), h(g), h(momentum), h(control), bad, 0.2, 1, 0.95, 0, e); });
      }
      refuse("adafactor", [&](char **e) { return hone_adafactor(h(w), h(g), h(row), h(wide), h(control), place, 1, 0, e); });
      refuse("adafactor", [&](char **e) { return hone_adafactor(h(w), h(g), h(row), h(column), h(row), place, 1, 0, e); });
      refuse("muon", [&](char **e) { return hone_muon(h(w), h(g), h(row), h(control), place, 0.2, 1, 0.95, 0, e); });
    }
    accept("adafactor", [&](char **e) { return hone_adafactor_vector(h(w), h(g), h(v), h(control), 0, 1, 0, e); });
    refuse("adafactor", [&](char **e) { return hone_adafactor_vector(h(w), h(g), h(v), h(control), 1, 1, 0, e); });
    double sum;
    accept("sum of squares", [&](char **e) { return hone_sum_squares(h(w), &sum, e); });
    refuse("sum of squares", [&](char **e) { return hone_sum_squares(h(wide), &sum, e); });
    refuse("sum of squares", [&](char **e) { return hone_sum_squares(nullptr, &sum, e); });

    int64_t shape[] = {1, n}, negative[] = {-1, -n}, over[] = {2, n};
    for (hten grad : {hten(nullptr), h(g)}) {
      Tensor l = one("leaf", [&](hten *o, char **e) { return hone_leaf(o, h(w), 0, shape, 2, grad != nullptr, grad, e); });
      if (grad) { back("leaf backward", {l.mul(2)}); one("gradient", [&](hten *o, char **e) { return hone_gradient(o, h(l), e); }); }
      for (int64_t *s : {negative, over}) not_one("leaf", [&](hten *o, char **e) { return hone_leaf(o, h(w), 0, s, 2, 0, grad, e); });
      for (int64_t at : {int64_t(1), -n - 1}) not_one("leaf", [&](hten *o, char **e) { return hone_leaf(o, h(w), at, shape, 2, 0, grad, e); });
      not_one("leaf", [&](hten *o, char **e) { return hone_leaf(o, nullptr, 0, shape, 2, 0, grad, e); });
    }
    Tensor few = at::zeros({n - 1});
    not_one("leaf", [&](hten *o, char **e) { return hone_leaf(o, h(w), 0, shape, 2, 1, h(few), e); });
    one("view", [&](hten *o, char **e) { return hone_view(o, h(w), 0, shape, 2, e); });
    for (int64_t at : {int64_t(1), -n - 1}) not_one("view", [&](hten *o, char **e) { return hone_view(o, h(w), at, shape, 2, e); });
    for (int64_t *s : {negative, over}) not_one("view", [&](hten *o, char **e) { return hone_view(o, h(w), 0, s, 2, e); });
    if (n > 1) not_one("view", [&](hten *o, char **e) { return hone_view(o, h(strided), 0, shape, 2, e); });
    not_one("view", [&](hten *o, char **e) { return hone_view(o, nullptr, 0, shape, 2, e); });
    not_one("gradient", [&](hten *o, char **e) { return hone_gradient(o, h(w), e); });
    not_one("gradient", [&](hten *o, char **e) { return hone_gradient(o, nullptr, e); });
    one("clone", [&](hten *o, char **e) { return hone_clone(o, h(strided), e); });
    not_one("clone", [&](hten *o, char **e) { return hone_clone(o, nullptr, e); });
    accept("huge", [&](char **e) { return hone_huge(h(w), e); });
    refuse("huge", [&](char **e) { return hone_huge(nullptr, e); });
    hten o = h(w), gr = h(few);
    refuse("backward", [&](char **e) { return hone_backward(&o, &gr, 1, e); });
    o = nullptr;
    refuse("backward", [&](char **e) { return hone_backward(&o, &gr, 1, e); });
  }
  int64_t shape[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1}, stride[8], negative = -1, huge[] = {int64_t(1) << 40, int64_t(1) << 40};
  int dims, dtype, contiguous;
  void *data;
  Tensor nine = one("empty", [&](hten *o, char **e) { return hone_empty(o, shape, 9, int(at::kFloat), e); });
  refuse("info", [&](char **e) { return hone_info(h(nine), shape, stride, &dims, &dtype, &contiguous, &data, e); });
  refuse("info", [&](char **e) { return hone_info(nullptr, shape, stride, &dims, &dtype, &contiguous, &data, e); });
  accept("info", [&](char **e) { return hone_info(h(nine = nine[0]), shape, stride, &dims, &dtype, &contiguous, &data, e); });
  one("empty", [&](hten *o, char **e) { return hone_empty(o, nullptr, 0, int(at::kBFloat16), e); });
  not_one("empty", [&](hten *o, char **e) { return hone_empty(o, &negative, 1, int(at::kFloat), e); });
  not_one("empty", [&](hten *o, char **e) { return hone_empty(o, huge, 2, int(at::kFloat), e); });
  char *text = nullptr, *capability = nullptr;
  int abi;
  accept("version", [&](char **e) { return hone_version(&text, &capability, &abi, e); });
  free(text), free(capability);
}

int main() {
  accept("threads", [](char **e) { return hone_set_threads(2, e); });
  refuse("threads", [](char **e) { return hone_set_threads(0, e); });
  if (hone_threads() != 2) fail("threads", "not set");
  for (auto d : {at::kFloat, at::kDouble, at::kBFloat16}) {
    for (int64_t rows : {1, 2, 31, 33, 70})
      for (int64_t in : {2, 15, 16, 67}) whole(d, rows, in, 37);
    for (int64_t dim : {2, 16, 34}) attention(d, {1}, 1, 1, dim), attention(d, {1, 5, 33}, 2, 3, dim);
  }
  misfits();
  flat_buffers();
  hone_grad_mode(0), hone_grad_mode(1);
  printf("operators: %d calls, %d refusals, %s\n", accepted, refusals, failures ? "not as they should be" : "clean");
  return failures != 0;
}
