// LayerNorm (Ba et al. 2016), with the residual addition before it in the same pass.
#include "ops_common.h"
using namespace hone;

namespace {
struct Standardised { Tensor sum, out, mean, rstd; };

Standardised standardise(const Tensor &x, const optional<Tensor> &r, const Tensor &w, const Tensor &b, double eps) {
  int64_t dim = x.size(-1), rows = x.numel() / dim;
  TORCH_CHECK(x.is_contiguous() && w.numel() == dim && b.numel() == dim, "layernorm: x ", x.sizes(), ", weight ", w.sizes(), ", bias ", b.sizes());
  TORCH_CHECK(!r || (r->is_contiguous() && r->sizes() == x.sizes()), "layernorm: residual of another shape");
  for (const Tensor &t : {w, b, r.value_or(x)}) TORCH_CHECK(t.scalar_type() == x.scalar_type(), "layernorm: dtypes differ");
  auto acc = x.options().dtype(acc_dtype(x));
  Standardised f{r ? at::empty(x.sizes(), x.options()) : x, at::empty(x.sizes(), x.options()), at::empty({rows}, acc), at::empty({rows}, acc)};
  dispatch(x, [&](auto zero, auto &k) {
    using K = decltype(zero);
    at::parallel_for(0, rows, grain(dim), [&](int64_t i, int64_t e) {
      k.layernorm(ptr<K>(x) + i * dim, r ? ptr<K>(*r) + i * dim : nullptr, ptr<K>(w), ptr<K>(b), r ? ptr<K>(f.sum) + i * dim : nullptr,
                  ptr<K>(f.out) + i * dim, ptr<Acc<K>>(f.mean) + i, ptr<Acc<K>>(f.rstd) + i, e - i, dim, eps);
    });
  });
  return f;
}

struct LayerNorm : Function<LayerNorm> {
  static variable_list forward(AutogradContext *c, const Tensor &x, const optional<Tensor> &r, const Tensor &w, const Tensor &b, double eps) {
    auto f = standardise(x, r, w, b, eps);
    c->save_for_backward({f.sum, w, b, f.mean, f.rstd});
    c->saved_data["residual"] = r.has_value();
    if (!r) return {f.out};
    return {f.sum, f.out};
  }
  static variable_list backward(AutogradContext *c, variable_list g) {
    auto s = c->get_saved_variables();
    const Tensor &sum = s[0], &w = s[1], &b = s[2], &mean = s[3], &rstd = s[4];
    bool residual = c->saved_data["residual"].toBool();
    Tensor dy = residual ? g[1] : g[0], ds = residual ? g[0] : Tensor();
    if (!dy.defined()) return {ds, ds, Tensor(), Tensor(), Tensor()};
    dy = dy.contiguous();
    if (ds.defined()) ds = ds.contiguous();
    int64_t dim = sum.size(-1), rows = sum.numel() / dim;
    Tensor dx = at::empty(sum.sizes(), sum.options());
    Tensor dw = w.requires_grad() ? at::zeros({kBlocks, dim}, rstd.options()) : Tensor(), db = b.requires_grad() ? at::zeros({kBlocks, dim}, rstd.options()) : Tensor();
    dispatch(sum, [&](auto zero, auto &k) {
      using K = decltype(zero);
      at::parallel_for(0, kBlocks, 1, [&](int64_t b0, int64_t b1) {
        for (int64_t n = b0; n < b1; n++) {
          int64_t i = rows * n / kBlocks, e = rows * (n + 1) / kBlocks;
          k.layernorm_back(ptr<K>(dy) + i * dim, ds.defined() ? ptr<K>(ds) + i * dim : nullptr, ptr<K>(sum) + i * dim, ptr<K>(w),
                           ptr<Acc<K>>(mean) + i, ptr<Acc<K>>(rstd) + i, ptr<K>(dx) + i * dim, dw.defined() ? ptr<Acc<K>>(dw) + n * dim : nullptr,
                           db.defined() ? ptr<Acc<K>>(db) + n * dim : nullptr, e - i, dim);
        }
      });
    });
    if (dw.defined()) grad_of(w).add_(dw.sum(0));
    if (db.defined()) grad_of(b).add_(db.sum(0));
    return {dx, residual ? dx : Tensor(), Tensor(), Tensor(), Tensor()};
  }
};
} // namespace

// x, residual: [..., dim]; weight, bias: [dim]. sum, where residual is given: x + residual; out: its normalisation.
extern "C" int hone_layernorm(hten *sum, hten *out, hten x, hten residual, hten weight, hten bias, double eps, char **err) {
  GUARD(
    if (!recording({T(x), O(residual), T(weight), T(bias)})) {
      auto f = standardise(T(x), O(residual), T(weight), T(bias), eps);
      if (residual) *sum = give(f.sum);
      *out = give(f.out);
      return 0;
    }
    auto v = LayerNorm::apply(T(x), O(residual), T(weight), T(bias), eps);
    if (residual) *sum = give(v[0]);
    *out = give(v.back()))
}
