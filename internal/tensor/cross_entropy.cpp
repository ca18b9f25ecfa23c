// The vocabulary projection and the log-likelihood of the labels, in chunks of rows: tokens × vocabulary is never held.
#include "ops_common.h"
using namespace hone;

namespace {
// logp[i] = log softmax(x[i]·wᵀ)[label[i]]. Where dx or dw is given, the gradients of -Σ weight[i]·logp[i] are written to dx
// and added to dw on the way, while a chunk's logits are there.
void chunks(const Tensor &x, const Tensor &w, const Tensor &labels, const Tensor &weights, int64_t chunk, Tensor &logp, Tensor *dx, Tensor *dw) {
  int64_t n = x.size(0), vocabulary = w.size(0);
  TORCH_CHECK(labels.scalar_type() == at::kLong && labels.numel() == n && weights.numel() == n, "cross entropy: labels and weights for ", n, " rows");
  TORCH_CHECK(weights.scalar_type() == acc_dtype(x) && chunk > 0, "cross entropy: weights of another dtype");
  if (n > 0) TORCH_CHECK(labels.min().item<int64_t>() >= 0 && labels.max().item<int64_t>() < vocabulary, "cross entropy: a label outside the vocabulary of ", vocabulary);
  Tensor logits = at::empty({std::min(n, chunk), vocabulary}, x.options());
  for (int64_t i = 0; i < n; i += chunk) {
    int64_t rows = std::min(chunk, n - i);
    Tensor z = logits.narrow(0, 0, rows), xi = x.narrow(0, i, rows);
    at::mm_out(z, xi, w.t());
    dispatch(x, [&](auto zero, auto &k) {
      using K = decltype(zero);
      at::parallel_for(0, rows, 1, [&](int64_t a, int64_t b) {
        k.cross_entropy(ptr<K>(z) + a * vocabulary, ptr<int64_t>(labels) + i + a, dx || dw ? ptr<Acc<K>>(weights) + i + a : nullptr,
                        ptr<Acc<K>>(logp) + i + a, b - a, vocabulary);
      });
    });
    if (dx) { Tensor d = dx->narrow(0, i, rows); at::mm_out(d, z, w); }
    if (dw) add_product(*dw, z.t(), xi);
  }
}

struct CrossEntropy : Function<CrossEntropy> {
  static variable_list forward(AutogradContext *c, const Tensor &x, const Tensor &w, const Tensor &labels, const Tensor &weights, int64_t chunk) {
    Tensor logp = at::empty({x.size(0)}, weights.options()), dx;
    if (x.requires_grad()) dx = at::empty_like(x);
    chunks(x, w, labels, weights, chunk, logp, dx.defined() ? &dx : nullptr, w.requires_grad() ? &grad_of(w) : nullptr);
    c->save_for_backward({dx});
    c->mark_non_differentiable({logp});
    return {(logp * weights).sum().neg(), logp};
  }
  static variable_list backward(AutogradContext *c, variable_list g) {
    // The weight's gradient has been added already, for a gradient of one at the loss.
    TORCH_CHECK(g[0].item<double>() == 1, "cross entropy: the loss must be the end of the graph; scale the token weights instead");
    return {c->get_saved_variables()[0], Tensor(), Tensor(), Tensor(), Tensor()};
  }
};
} // namespace

// x: [rows, dim]; weight: [vocabulary, dim]; labels: [rows] int64; token_weights: [rows]; loss: scalar -Σ token_weights·logp;
// logp: [rows]. chunk: rows whose logits are held at once.
extern "C" int hone_cross_entropy(hten *loss, hten *logp, hten x, hten weight, hten labels, hten token_weights, int64_t chunk, char **err) {
  GUARD(
    if (recording({T(x), T(weight)})) {
      auto v = CrossEntropy::apply(T(x), T(weight), T(labels), T(token_weights), chunk);
      *loss = give(v[0]); *logp = give(v[1]);
    } else {
      Tensor lp = at::empty({T(x).size(0)}, T(token_weights).options());
      chunks(T(x), T(weight), T(labels), T(token_weights), chunk, lp, nullptr, nullptr);
      *loss = give((lp * T(token_weights)).sum().neg()); *logp = give(lp);
    })
}
