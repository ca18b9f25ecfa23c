// The vocabulary projection and the log-likelihood of the labels, in chunks of rows: tokens × vocabulary is never held.
#include "composite.hpp"
using namespace hone;

namespace {
void check_labels(const char *op, const Tensor &x, const Tensor &w, const Tensor &labels, double cap, int64_t chunk) {
  TORCH_CHECK(cap >= 0, op, ": logits within ", cap);
  TORCH_CHECK(x.dim() == 2 && w.dim() == 2, op, ": x ", x.sizes(), ", weight ", w.sizes());
  int64_t n = x.size(0), vocabulary = w.size(0);
  TORCH_CHECK(labels.scalar_type() == at::kLong && labels.numel() == n && labels.is_contiguous() && chunk > 0, op, ": labels for ", n, " rows");
  if (n > 0 && labels.is_cpu()) TORCH_CHECK(labels.min().item<int64_t>() >= 0 && labels.max().item<int64_t>() < vocabulary, op, ": a label outside the vocabulary of ", vocabulary);
}

// Calls f(first row, rows, logits [rows, vocabulary]) for the logits x·wᵀ, or cap·tanh(x·wᵀ/cap) (Gemma 2; no cap is 0), a
// chunk of rows at a time. Where dx or dw is given, f leaves the gradient dz of its logits in their place, and dx = dz·w is
// written for its rows, dw += dzᵀ·x. What f returns [rows], where it is defined, the rows of dz are still to be multiplied with.
constexpr int64_t kDeviceChunk = 2048; // rows that keep a GPU busy
template <class F>
void each_chunk(const Tensor &x, const Tensor &w, double cap, int64_t chunk, Tensor *dx, Tensor *dw, F f) {
  int64_t n = x.size(0);
  if (x.is_cuda()) chunk = std::max(chunk, kDeviceChunk);
  bool back = dx || dw;
  Tensor logits, kept;
  if (!composite(x)) logits = at::empty({std::min(n, chunk), w.size(0)}, x.options());
  if (!composite(x) && cap > 0 && back) kept = at::empty_like(logits);
  for (int64_t i = 0; i < n; i += chunk) {
    int64_t rows = std::min(chunk, n - i), count = rows * w.size(0);
    Tensor xi = x.narrow(0, i, rows), z = composite(x) ? stock::product(xi, w.t()) : logits.narrow(0, 0, rows);
    if (!composite(x)) mm_into(z, xi, w);
    if (cap > 0 && composite(x)) z = kept = stock::capped(z, 1, cap);
    else if (cap > 0) {
      dispatch(x, [&](auto zero, auto &k) {
        using K = decltype(zero);
        at::parallel_for(0, count, 16384, [&](int64_t a, int64_t b) { k.cap(ptr<K>(z) + a, b - a, cap); });
      });
    }
    if (cap > 0 && back && !composite(x)) kept.narrow(0, 0, rows).copy_(z);
    Tensor weight = f(i, rows, z);
    if (cap > 0 && back && composite(x)) z.mul_(1 - (kept / cap).square_());
    else if (cap > 0 && back) {
      dispatch(x, [&](auto zero, auto &k) {
        using K = decltype(zero);
        at::parallel_for(0, count, 16384, [&](int64_t a, int64_t b) { k.cap_back(ptr<K>(z) + a, ptr<K>(kept) + a, b - a, cap); });
      });
    }
    if (dx) mm_back_into(dx->narrow(0, i, rows), z, w);
    if (weight.defined()) {
      weight = weight.unsqueeze(1);
      if (dx) dx->narrow(0, i, rows).mul_(weight);
      if (dw) xi = (xi * weight).to(xi.scalar_type());
    }
    if (dw) add_product(*dw, z.t(), xi);
  }
}

// logp[i] = log softmax(x[i]·wᵀ)[label[i]], with stats [rows, 2] as in kernels.h. Where dx or dw is given, the gradients of
// -Σ weight[i]·logp[i] (with dft: of its weighted form) are written to dx and added to dw on the way, while a chunk's logits are there.
void chunks(const Tensor &x, const Tensor &w, const Tensor &labels, const Tensor &weights, bool dft, double cap, int64_t chunk, Tensor &logp, Tensor &stats,
            Tensor *dx, Tensor *dw) {
  int64_t vocabulary = w.size(0);
  check_labels("cross entropy", x, w, labels, cap, chunk);
  TORCH_CHECK(weights.scalar_type() == acc_dtype(x) && weights.dim() == 1 && weights.numel() == x.size(0) && weights.is_contiguous(), "cross entropy: weights for ", x.size(0), " rows");
  each_chunk(x, w, cap, chunk, dx, dw, [&](int64_t i, int64_t rows, Tensor &z) {
    if (composite(x)) {
      auto own = [&](const Tensor &t) { return t.narrow(0, i, rows); };
      return stock::cross_entropy(z, own(labels), dx || dw ? optional<Tensor>(own(weights)) : std::nullopt, dft, own(logp), own(stats), x.scalar_type());
    }
    dispatch(x, [&](auto zero, auto &k) {
      using K = decltype(zero);
      at::parallel_for(0, rows, 1, [&](int64_t a, int64_t b) {
        k.cross_entropy(ptr<K>(z) + a * vocabulary, ptr<int64_t>(labels) + i + a, dx || dw ? ptr<Acc<K>>(weights) + i + a : nullptr, dft,
                        ptr<Acc<K>>(logp) + i + a, ptr<Acc<K>>(stats) + 2 * (i + a), b - a, vocabulary);
      });
    });
    return Tensor();
  });
}

Tensor weighted(const Tensor &logp, const Tensor &weights, bool dft) {
  return ((dft ? logp * logp.exp() : logp) * weights).sum().neg();
}

struct CrossEntropy : Function<CrossEntropy> {
  static variable_list forward(AutogradContext *c, const Tensor &x, const Tensor &w, const Tensor &labels, const Tensor &weights, bool dft, double cap, int64_t chunk) {
    Tensor logp = at::empty({x.size(0)}, weights.options()), stats = at::empty({x.size(0), 2}, weights.options()), dx;
    if (x.requires_grad()) dx = at::empty_like(x);
    chunks(x, w, labels, weights, dft, cap, chunk, logp, stats, dx.defined() ? &dx : nullptr, w.requires_grad() ? &grad_of(w) : nullptr);
    c->save_for_backward({dx});
    c->mark_non_differentiable({logp, stats});
    return {weighted(logp, weights, dft), logp, stats};
  }
  static variable_list backward(AutogradContext *c, variable_list g) {
    // The weight's gradient has been added already, for a gradient of one at the loss.
    if (g[0].is_cpu()) TORCH_CHECK(g[0].item<double>() == 1, "cross entropy: the loss must be the end of the graph; scale the token weights instead");
    return {c->get_saved_variables()[0], Tensor(), Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

// The log-likelihoods themselves, for losses that are no weighted sum of them. The backward pass computes the logits again:
// one more product instead of tokens × vocabulary of memory.
struct LogProbs : Function<LogProbs> {
  static variable_list forward(AutogradContext *c, const Tensor &x, const Tensor &w, const Tensor &labels, double scale, double cap, int64_t chunk, bool stats) {
    int64_t n = x.size(0), vocabulary = w.size(0);
    check_labels("log probs", x, w, labels, cap, chunk);
    auto options = x.options().dtype(acc_dtype(x));
    Tensor logp = at::empty({n}, options), lse = at::empty({n}, options), s = at::empty({n, stats ? 3 : 0}, options);
    each_chunk(x, w, cap, chunk, nullptr, nullptr, [&](int64_t i, int64_t rows, Tensor &z) {
      if (composite(x)) {
        auto own = [&](const Tensor &t) { return t.narrow(0, i, rows); };
        stock::log_probs(z, own(labels), scale, own(logp), own(lse), stats ? optional<Tensor>(own(s)) : std::nullopt);
        return Tensor();
      }
      dispatch(x, [&](auto zero, auto &k) {
        using K = decltype(zero);
        at::parallel_for(0, rows, 1, [&](int64_t a, int64_t b) {
          k.log_probs(ptr<K>(z) + a * vocabulary, ptr<int64_t>(labels) + i + a, Acc<K>(scale), ptr<Acc<K>>(logp) + i + a, ptr<Acc<K>>(lse) + i + a,
                      stats ? ptr<Acc<K>>(s) + 3 * (i + a) : nullptr, b - a, vocabulary);
        });
      });
      return Tensor();
    });
    if (c) {
      c->save_for_backward({x, w, labels, lse});
      c->saved_data["scale"] = scale;
      c->saved_data["cap"] = cap;
      c->saved_data["chunk"] = chunk;
      c->saved_data["dx"] = x.requires_grad();
      c->mark_non_differentiable({s});
    }
    return {logp, s};
  }
  static variable_list backward(AutogradContext *c, variable_list g) {
    auto saved = c->get_saved_variables();
    const Tensor &x = saved[0], &w = saved[1], &labels = saved[2], &lse = saved[3];
    double scale = c->saved_data["scale"].toDouble();
    int64_t vocabulary = w.size(0);
    Tensor grad = g[0].contiguous(), dx;
    if (c->saved_data["dx"].toBool()) dx = at::empty_like(x);
    each_chunk(x, w, c->saved_data["cap"].toDouble(), c->saved_data["chunk"].toInt(), dx.defined() ? &dx : nullptr, w.requires_grad() ? &grad_of(w) : nullptr,
               [&](int64_t i, int64_t rows, Tensor &z) {
      if (composite(x)) return stock::log_probs_back(z, labels.narrow(0, i, rows), scale, lse.narrow(0, i, rows), grad.narrow(0, i, rows), x.scalar_type());
      dispatch(x, [&](auto zero, auto &k) {
        using K = decltype(zero);
        at::parallel_for(0, rows, 1, [&](int64_t a, int64_t b) {
          k.log_probs_back(ptr<K>(z) + a * vocabulary, ptr<int64_t>(labels) + i + a, Acc<K>(scale), ptr<Acc<K>>(lse) + i + a, ptr<Acc<K>>(grad) + i + a, b - a, vocabulary);
        });
      });
      return Tensor();
    });
    return {dx, Tensor(), Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
  }
};
} // namespace

// x: [rows, dim]; weight: [vocabulary, dim]; labels: [rows] int64; token_weights: [rows]; loss: scalar -Σ token_weights·logp, or with dft
// -Σ token_weights·p·logp; logp: [rows]; stats: [rows, 2], see kernels.h. cap: of the logits, 0 is none. chunk: rows whose logits are
// held at once.
extern "C" int hone_cross_entropy(hten *loss, hten *logp, hten *stats, hten x, hten weight, hten labels, hten token_weights, int dft, double cap,
                                  int64_t chunk, char **err) {
  GUARD(
    if (recording({T(x), T(weight)})) {
      auto v = CrossEntropy::apply(T(x), T(weight), T(labels), T(token_weights), dft != 0, cap, chunk);
      *loss = give(v[0]); *logp = give(v[1]); *stats = give(v[2]);
    } else {
      Tensor lp = at::empty({T(x).size(0)}, T(token_weights).options()); Tensor st = at::empty({T(x).size(0), 2}, lp.options());
      chunks(T(x), T(weight), T(labels), T(token_weights), dft != 0, cap, chunk, lp, st, nullptr, nullptr);
      *loss = give(weighted(lp, T(token_weights), dft != 0)); *logp = give(lp); *stats = give(st);
    })
}

// x: [rows, dim]; weight: [vocabulary, dim]; labels: [rows] int64; logp: [rows] = log softmax(scale·logits)[label];
// stats, where wanted (else null): [rows, 3], see kernels.h.
extern "C" int hone_log_probs(hten *logp, hten *stats, hten x, hten weight, hten labels, double scale, double cap, int64_t chunk, char **err) {
  GUARD(
    bool r = recording({T(x), T(weight)});
    auto v = r ? LogProbs::apply(T(x), T(weight), T(labels), scale, cap, chunk, stats != nullptr)
               : LogProbs::forward(nullptr, T(x), T(weight), T(labels), scale, cap, chunk, stats != nullptr);
    *logp = give(v[0]);
    if (stats) *stats = give(v[1]))
}
