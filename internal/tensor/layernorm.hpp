// LayerNorm (Ba et al. 2016), with the residual addition before it in the same pass.
#include "composite.hpp"
using namespace hone;

namespace {
struct Standardised { Tensor sum, out, mean, rstd; };

Standardised standardise(const Tensor &x, const optional<Tensor> &r, const Tensor &w, const Tensor &b, double eps, at::ScalarType to) {
  TORCH_CHECK(x.dim() > 0 && x.size(-1) > 0, "layernorm: x ", x.sizes());
  int64_t dim = x.size(-1), rows = x.numel() / dim;
  TORCH_CHECK(x.is_contiguous() && w.numel() == dim && w.is_contiguous() && b.numel() == dim && b.is_contiguous(), "layernorm: x ", x.sizes(), ", weight ", w.sizes(), ", bias ", b.sizes());
  TORCH_CHECK(!r || (r->is_contiguous() && r->sizes() == x.sizes()), "layernorm: residual of another shape");
  TORCH_CHECK(w.scalar_type() == acc_dtype(x) && b.scalar_type() == acc_dtype(x) && (!r || r->scalar_type() == to), "layernorm: dtypes differ");
  if (composite(x)) {
    Tensor s = r ? x + *r : x;
    auto n = stock::layernorm(s, w, b, eps, to);
    return {s, n.out, n.mean, n.rstd};
  }
  auto acc = x.options().dtype(acc_dtype(x));
  Standardised f{r ? at::empty(x.sizes(), x.options()) : x, at::empty(x.sizes(), x.options().dtype(to)), at::empty({rows}, acc), at::empty({rows}, acc)};
  dispatch_norms(x, to, [&](auto stream, auto part, auto &k) {
    using X = decltype(stream);
    using Y = decltype(part);
    at::parallel_for(0, rows, grain(dim), [&](int64_t i, int64_t e) {
      k.layernorm(ptr<X>(x) + i * dim, r ? ptr<Y>(*r) + i * dim : nullptr, ptr<Acc<X>>(w), ptr<Acc<X>>(b), r ? ptr<X>(f.sum) + i * dim : nullptr,
                  ptr<Y>(f.out) + i * dim, ptr<Acc<X>>(f.mean) + i, ptr<Acc<X>>(f.rstd) + i, e - i, dim, eps);
    });
  });
  return f;
}

struct LayerNorm : Function<LayerNorm> {
  static variable_list forward(AutogradContext *c, const Tensor &x, const optional<Tensor> &r, const Tensor &w, const Tensor &b, double eps, at::ScalarType to) {
    auto f = standardise(x, r, w, b, eps, to);
    c->save_for_backward({f.sum, w, b, f.mean, f.rstd});
    c->saved_data["residual"] = r.has_value();
    c->saved_data["to"] = int64_t(to);
    if (!r) return {f.out};
    return {f.sum, f.out};
  }
  static variable_list backward(AutogradContext *c, variable_list g) {
    auto s = c->get_saved_variables();
    const Tensor &sum = s[0], &w = s[1], &b = s[2], &mean = s[3], &rstd = s[4];
    bool residual = c->saved_data["residual"].toBool();
    Tensor dy = residual ? g[1] : g[0], ds = residual ? g[0] : Tensor();
    auto to = at::ScalarType(c->saved_data["to"].toInt());
    if (!dy.defined()) return {ds, residual ? ds.to(to) : Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
    if (composite(sum)) {
      auto [dx, dw, db] = at::native_layer_norm_backward(dy.to(mean.scalar_type()).contiguous(), stock::wide(sum), {sum.size(-1)}, mean, rstd, w, b,
                                                         {true, w.requires_grad(), b.requires_grad()});
      if (w.requires_grad()) grad_of(w).add_(dw);
      if (b.requires_grad()) grad_of(b).add_(db);
      auto d = stock::joined(dx, ds, sum, residual, to);
      return {d[0], d[1], Tensor(), Tensor(), Tensor(), Tensor()};
    }
    dy = dy.contiguous();
    if (ds.defined()) ds = ds.contiguous();
    int64_t dim = sum.size(-1), rows = sum.numel() / dim;
    Tensor dx = at::empty(sum.sizes(), sum.options()), dr = residual ? dx : Tensor();
    bool narrow = residual && to != sum.scalar_type();
    if (narrow) dr = at::empty(sum.sizes(), sum.options().dtype(to));
    Tensor dw = w.requires_grad() ? at::zeros({kBlocks, dim}, rstd.options()) : Tensor(), db = b.requires_grad() ? at::zeros({kBlocks, dim}, rstd.options()) : Tensor();
    dispatch_norms(sum, to, [&](auto stream, auto part, auto &k) {
      using X = decltype(stream);
      using Y = decltype(part);
      at::parallel_for(0, kBlocks, 1, [&](int64_t b0, int64_t b1) {
        for (int64_t n = b0; n < b1; n++) {
          int64_t i = rows * n / kBlocks, e = rows * (n + 1) / kBlocks;
          k.layernorm_back(ptr<Y>(dy) + i * dim, ds.defined() ? ptr<X>(ds) + i * dim : nullptr, ptr<X>(sum) + i * dim, ptr<Acc<X>>(w),
                           ptr<Acc<X>>(mean) + i, ptr<Acc<X>>(rstd) + i, ptr<X>(dx) + i * dim, narrow ? ptr<Y>(dr) + i * dim : nullptr,
                           dw.defined() ? ptr<Acc<X>>(dw) + n * dim : nullptr, db.defined() ? ptr<Acc<X>>(db) + n * dim : nullptr, e - i, dim);
        }
      });
    });
    if (dw.defined()) grad_of(w).add_(dw.sum(0));
    if (db.defined()) grad_of(b).add_(db.sum(0));
    return {dx, dr, Tensor(), Tensor(), Tensor(), Tensor()};
  }
};
} // namespace

// x, residual: [..., dim]; weight, bias: [dim]; dtypes as in hone_rmsnorm. sum, where residual is given: x + residual; out: its normalisation.
extern "C" int hone_layernorm(hten *sum, hten *out, hten x, hten residual, hten weight, hten bias, double eps, int to, char **err) {
  GUARD(
    auto y = at::ScalarType(to);
    if (!recording({T(x), O(residual), T(weight), T(bias)})) {
      auto f = standardise(T(x), O(residual), T(weight), T(bias), eps, y);
      if (residual) *sum = give(f.sum);
      *out = give(f.out);
      return 0;
    }
    auto v = LayerNorm::apply(T(x), O(residual), T(weight), T(bias), eps, y);
    if (residual) *sum = give(v[0]);
    *out = give(v.back()))
}
