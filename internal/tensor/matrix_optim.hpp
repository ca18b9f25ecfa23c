// Updates that see a weight as a matrix: Adafactor and Muon. control and rate as in adamw.hpp.
#include "adamw.hpp"

namespace {
// A matrix [rows, columns] of a flat f32 buffer, its rows width apart.
struct Place {
  int64_t offset, rows, width, columns;
  void check(const char *op, const Tensor &t) const {
    TORCH_CHECK(t.scalar_type() == at::kFloat && t.is_contiguous() && offset >= 0 && rows > 0 && 0 < columns && columns <= width &&
                offset + (rows - 1) * width + columns <= t.numel(), op, ": ", rows, " rows of ", columns, " at ", offset, " of ", t.numel(), " elements");
  }
  Tensor of(const Tensor &t) const { return t.detach().as_strided({rows, columns}, {width, 1}, offset); }
};

// Calls f(first row, rows, block) for blocks of a matrix's rows. They are as many at any number of threads, and so are sums over them.
template <class F>
void each_block(const Place &p, F f) {
  at::parallel_for(0, kBlocks, grain_of(p.rows * p.columns / kBlocks, 16384), [&](int64_t a, int64_t b) {
    for (int64_t i = a; i < b; i++) {
      int64_t from = p.rows * i / kBlocks, to = p.rows * (i + 1) / kBlocks;
      if (from < to) f(from, to - from, i);
    }
  });
}

// Orthogonalises by Newton and Schulz's iteration as torch.optim.Muon does, in bfloat16: five steps of a quintic polynomial.
Tensor orthogonal(const Tensor &update) {
  constexpr double a = 3.4445, b = -4.7750, c = 2.0315;
  bool tall = update.size(0) > update.size(1);
  Tensor x = update.to(at::kBFloat16);
  if (tall) x = x.t();
  x = x / x.norm().clamp_min(1e-7);
  for (int i = 0; i < 5; i++) {
    Tensor gram = multiplied(x, x.t()), quintic = gram.clone(), next = x.clone(at::MemoryFormat::Contiguous);
    gemm(quintic, gram, gram, b, c);
    gemm(next, quintic, x, a);
    x = next;
  }
  return tall ? x.t() : x;
}
} // namespace

extern "C" {
// Adafactor (Shazeer & Stern 2018) with the learning rate from outside, as transformers' with relative_step and scale_parameter off:
// w and g are flat, row [rows] and column [columns] the decaying means of squared gradients. g is scaled first and zero afterwards.
// control's age is the step's beta2.
int hone_adafactor(hten w, hten g, hten row, hten column, hten control, const int64_t *place, double rate, double decay, char **err) {
  GUARD(
    constexpr double eps = 1e-30; constexpr double clip = 1;
    Place p = {place[0], place[1], place[2], place[3]};
    p.check("adafactor", T(w)); p.check("adafactor", T(g)); check_control("adafactor", T(w), T(control));
    TORCH_CHECK(T(row).scalar_type() == at::kFloat && T(column).scalar_type() == at::kFloat, "adafactor: means are ", T(row).scalar_type(), " and ", T(column).scalar_type());
    TORCH_CHECK(T(row).numel() == p.rows && T(column).numel() == p.columns, "adafactor: ", T(row).numel(), " row and ", T(column).numel(), " column means");
    if (composite(T(w))) {
      stock::adafactor(p.of(T(w)), p.of(T(g)), T(row), T(column), Tensor(), {T(control), rate}, decay);
      return 0;
    }
    Step s(T(control), rate); double keep = s.keep(decay);
    float *wp = ptr<float>(T(w)) + p.offset; float *gp = ptr<float>(T(g)) + p.offset;
    Tensor rows = at::empty({p.rows}, at::kFloat), columns = at::zeros({kBlocks, p.columns}, at::kFloat);
    each_block(p, [&](int64_t i, int64_t n, int64_t block) {
      kernels().squares(gp + i * p.width, p.width, n, p.columns, s.scale, eps, ptr<float>(rows) + i, ptr<float>(columns) + block * p.columns);
    });
    Tensor r = T(row).mul_(s.age).add_(rows, (1 - s.age) / p.columns); Tensor c = T(column).mul_(s.age).add_(columns.sum(0), (1 - s.age) / p.rows);
    r = (r / r.mean()).rsqrt(); c = c.rsqrt();
    double parts[kBlocks] = {};
    each_block(p, [&](int64_t i, int64_t n, int64_t block) {
      parts[block] = kernels().factored_norm(gp + i * p.width, p.width, n, p.columns, s.scale, ptr<float>(r) + i, ptr<float>(c));
    });
    double total = 0;
    for (double part : parts) total += part;
    double rms = std::sqrt(total / (double(p.rows) * p.columns));
    each_block(p, [&](int64_t i, int64_t n, int64_t) {
      kernels().factored(wp + i * p.width, gp + i * p.width, p.width, n, p.columns, s.scale * s.rate / std::max(1., rms / clip), ptr<float>(r) + i, ptr<float>(c), keep);
    }))
}
// The same for a vector, whose squares v [n] are kept as they are.
int hone_adafactor_vector(hten w, hten g, hten v, hten control, int64_t from, double rate, double decay, char **err) {
  GUARD(
    int64_t n = T(v).numel(); check_control("adafactor", T(w), T(control));
    Tensor wv = T(w).detach().narrow(0, from, n), gv = T(g).detach().narrow(0, from, n);
    if (composite(T(w))) {
      stock::adafactor(wv, gv, Tensor(), Tensor(), T(v), {T(control), rate}, decay);
      return 0;
    }
    Step s(T(control), rate); Tensor u = gv * s.scale;
    T(v).mul_(s.age).add_(u.square().add_(1e-30), 1 - s.age);
    u.mul_(T(v).rsqrt());
    double rms = std::sqrt(u.square().mean().item<double>());
    wv.mul_(s.keep(decay)).sub_(u, s.rate / std::max(1., rms)); gv.zero_())
}
// Muon (Jordan et al. 2024) as torch.optim.Muon with Nesterov's momentum: w and g are flat, the momentum m is [rows, columns].
// stretch: of the orthogonal matrix, times the rate. g is scaled first and zero afterwards.
int hone_muon(hten w, hten g, hten m, hten control, const int64_t *place, double stretch, double rate, double momentum, double decay, char **err) {
  GUARD(
    Place p = {place[0], place[1], place[2], place[3]};
    p.check("muon", T(w)); p.check("muon", T(g)); check_control("muon", T(w), T(control));
    Tensor wp = p.of(T(w)), gp = p.of(T(g)); const Tensor &buffer = T(m);
    TORCH_CHECK(buffer.sizes() == gp.sizes(), "muon: momentum ", buffer.sizes(), " of ", gp.sizes());
    auto direction = [&](const Tensor &grad) {
      buffer.lerp_(grad, 1 - momentum);
      return orthogonal(grad.lerp(buffer, momentum));
    };
    if (composite(T(w))) {
      stock::Step s(T(control), rate);
      wp.mul_(s.keep(decay)).sub_(direction(s.scaled(gp)).to(at::kFloat).mul_(s.rate * stretch));
    } else {
      Step s(T(control), rate);
      wp.mul_(s.keep(decay)).add_(direction(gp * s.scale), -(stretch * s.rate));
    }
    gp.zero_())
}
}
