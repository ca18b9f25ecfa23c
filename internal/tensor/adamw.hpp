// The update over flat buffers: one pass reads and writes each of weights, gradients and moments once.
#include "composite.hpp"
#include <cmath>
using namespace hone;

namespace {
constexpr int64_t kChunk = 1 << 16;
}

extern "C" {
// Elements from … to of w, g, m, v (flat f32). g is scaled first (clipping) and zero afterwards. step counts from one.
int hone_adamw(hten w, hten g, hten m, hten v, int64_t from, int64_t to, double scale, double lr, double beta1, double beta2,
               double eps, double decay, int64_t step, char **err) {
  GUARD(
    TORCH_CHECK(0 <= from && from <= to && step >= 1, "adamw: elements ", from, " to ", to, " in step ", step);
    for (hten t : {w, g, m, v}) TORCH_CHECK(T(t).scalar_type() == at::kFloat && T(t).is_contiguous() && T(t).numel() >= to, "adamw: flat float32 buffers are wanted");
    if (composite(T(w))) {
      auto part = [&](hten t) { return T(t).narrow(0, from, to - from); };
      auto scalar = [&](double x) { return at::full({}, x, T(w).options()); };
      stock::adamw(part(w), part(g), part(m), part(v), scalar(lr), scalar(double(step)), scalar(scale), std::nullopt, beta1, beta2, eps, decay);
      return 0;
    }
    double c1 = 1 - std::pow(beta1, step); double c2 = 1 - std::pow(beta2, step);
    at::parallel_for(0, (to - from + kChunk - 1) / kChunk, 1, [&](int64_t a, int64_t b) {
      for (int64_t i = a; i < b; i++) {
        int64_t o = from + i * kChunk, n = std::min(kChunk, to - o);
        kernels().adamw(ptr<float>(T(w)) + o, ptr<float>(T(g)) + o, ptr<float>(T(m)) + o, ptr<float>(T(v)) + o, n, scale, lr, beta1, beta2, eps, decay, c1, c2);
      }
    }))
}
// Lion's update of flat f32 w, g and momentum m, all of one length; likewise.
int hone_lion(hten w, hten g, hten m, double scale, double lr, double beta1, double beta2, double decay, char **err) {
  GUARD(
    int64_t n = T(w).numel();
    for (hten t : {w, g, m}) TORCH_CHECK(T(t).scalar_type() == at::kFloat && T(t).is_contiguous() && T(t).numel() == n && T(t).is_cpu(), "lion: flat float32 of one length is wanted, on the processor");
    at::parallel_for(0, (n + kChunk - 1) / kChunk, 1, [&](int64_t a, int64_t b) {
      for (int64_t i = a; i < b; i++) {
        int64_t o = i * kChunk;
        kernels().lion(ptr<float>(T(w)) + o, ptr<float>(T(g)) + o, ptr<float>(T(m)) + o, std::min(kChunk, n - o), scale, lr, beta1, beta2, decay);
      }
    }))
}
// AdamW's where nothing is read back. spans: n pairs from, to, with the share of the learning rate and the decay of each; control: [2]
// learning rate and step; stats: [3] the step's loss, which is read; the gradients' norm, before they are clipped to `clip` (0: not), which
// is written; and whether any step yet had one of them not finite: then nothing moves.
int hone_advance(hten w, hten g, hten m, hten v, const int64_t *spans, const double *rates, const double *decays, int n, hten control,
                 hten stats, double clip, double beta1, double beta2, double eps, char **err) {
  GUARD(
    const Tensor &s = T(stats); Tensor lr = T(control).select(0, 0); Tensor step = T(control).select(0, 1);
    Tensor norm = at::linalg_vector_norm(T(g)); s.select(0, 1).copy_(norm);
    Tensor bad = (norm + s.select(0, 0)).isfinite().logical_not_().to(at::kFloat).maximum(s.select(0, 2)); s.select(0, 2).copy_(bad);
    Tensor scale = clip > 0 ? (norm + 1e-6).reciprocal_().mul_(clip).clamp_max_(1) : at::ones_like(norm);
    for (int i = 0; i < n; i++) {
      auto part = [&](hten t) { return T(t).narrow(0, spans[2 * i], spans[2 * i + 1] - spans[2 * i]); };
      stock::adamw(part(w), part(g), part(m), part(v), rates[i] == 1 ? lr : lr * rates[i], step, scale, bad, beta1, beta2, eps, decays[i]);
    })
}
// Σ x² of a flat f32 buffer, summed a chunk at a time in order: the same at any number of threads.
int hone_sum_squares(hten x, double *out, char **err) {
  GUARD(
    TORCH_CHECK(T(x).scalar_type() == at::kFloat && T(x).is_contiguous(), "sum of squares: flat float32 is wanted");
    if (composite(T(x))) {
      *out = at::linalg_vector_norm(T(x)).square().item<double>();
      return 0;
    }
    int64_t n = T(x).numel(); int64_t chunks = (n + kChunk - 1) / kChunk; std::vector<double> part(chunks);
    at::parallel_for(0, chunks, 1, [&](int64_t a, int64_t b) {
      for (int64_t i = a; i < b; i++) part[i] = kernels().sum_squares(ptr<float>(T(x)) + i * kChunk, std::min(kChunk, n - i * kChunk));
    });
    *out = 0;
    for (double p : part) *out += p)
}
}
