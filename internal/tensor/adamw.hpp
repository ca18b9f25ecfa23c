// Updates over flat buffers: one pass reads and writes each of weights, gradients and moments once. control: [4], see Controls in
// update.go: float32 on a device, else float64.
#include "composite.hpp"
#include <cmath>
using namespace hone;

namespace {
constexpr int64_t kChunk = 1 << 16;

// What an update reads of its step, on the processor.
struct Step {
  double rate, scale, age;
  Step(const Tensor &control, double rate)
      : rate(rate * ptr<double>(control)[0]), scale(ptr<double>(control)[1]), age(ptr<double>(control)[2]) {}
  double keep(double decay) const { return 1 - rate * decay; }
};
void check_update(const char *op, std::initializer_list<hten> flat, hten control) {
  const int64_t n = T(*flat.begin()).numel();
  bool same = true;
  for (hten t : flat) same = same && T(t).scalar_type() == at::kFloat && T(t).is_contiguous() && T(t).numel() == n;
  TORCH_CHECK(same, op, ": flat float32 of one length is wanted");
  check_control(op, T(*flat.begin()), T(control));
}
}

extern "C" {
// w, g, m, v: flat f32 of one length. g is scaled first and zero afterwards; rate: times the control's.
int hone_adamw(hten w, hten g, hten m, hten v, hten control, double rate, double beta1, double beta2, double eps, double decay, char **err) {
  GUARD(
    check_update("adamw", {w, g, m, v}, control);
    if (composite(T(w))) {
      stock::adamw(T(w), T(g), T(m), T(v), {T(control), rate}, beta1, beta2, eps, decay);
      return 0;
    }
    Step s(T(control), rate); int64_t n = T(w).numel();
    TORCH_CHECK(s.age >= 1, "adamw: step ", s.age);
    double c1 = 1 - std::pow(beta1, s.age); double c2 = 1 - std::pow(beta2, s.age);
    at::parallel_for(0, (n + kChunk - 1) / kChunk, 1, [&](int64_t a, int64_t b) {
      for (int64_t i = a; i < b; i++) {
        int64_t o = i * kChunk;
        kernels().adamw(ptr<float>(T(w)) + o, ptr<float>(T(g)) + o, ptr<float>(T(m)) + o, ptr<float>(T(v)) + o, std::min(kChunk, n - o), s.scale, s.rate,
                        beta1, beta2, eps, decay, c1, c2);
      }
    }))
}
// Lion's update likewise, with momentum m.
int hone_lion(hten w, hten g, hten m, hten control, double rate, double beta1, double beta2, double decay, char **err) {
  GUARD(
    check_update("lion", {w, g, m}, control);
    if (composite(T(w))) {
      stock::lion(T(w), T(g), T(m), {T(control), rate}, beta1, beta2, decay);
      return 0;
    }
    Step s(T(control), rate); int64_t n = T(w).numel();
    at::parallel_for(0, (n + kChunk - 1) / kChunk, 1, [&](int64_t a, int64_t b) {
      for (int64_t i = a; i < b; i++) {
        int64_t o = i * kChunk;
        kernels().lion(ptr<float>(T(w)) + o, ptr<float>(T(g)) + o, ptr<float>(T(m)) + o, std::min(kChunk, n - o), s.scale, s.rate, beta1, beta2, decay);
      }
    }))
}
// What begins an update where nothing is read back: control's rate and age are given. stats: [3] the step's loss, which is read; the
// norm of the gradients g, which is written; and whether any step yet had one of them not finite: then nothing moves. control's
// scale is what clips g to a norm of `clip` (0: none).
int hone_clip(hten g, hten control, hten stats, double clip, char **err) {
  GUARD(
    const Tensor &s = T(stats); const Tensor &c = T(control);
    Tensor norm = at::linalg_vector_norm(T(g)); s.select(0, 1).copy_(norm);
    Tensor bad = (norm + s.select(0, 0)).isfinite().logical_not_().to(at::kFloat).maximum(s.select(0, 2)); s.select(0, 2).copy_(bad);
    c.select(0, 0).mul_(1 - bad); c.select(0, 3).copy_(bad);
    if (clip > 0) c.select(0, 1).copy_((norm + 1e-6).reciprocal_().mul_(clip).clamp_max_(1)); else c.select(0, 1).fill_(1))
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
