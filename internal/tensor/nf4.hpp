// Frozen matrices in four bits: NF4 (QLoRA, Dettmers et al. 2023) with the blocks, the tables and the rounding of bitsandbytes, so
// that the same weights come out. A matrix is never dense as a whole: operators ask for a block at a time.
//
// A packed matrix is one uint8 tensor of parts, the tensors [rows, in] of the checkpoint that stand in it, and knows where they are:
// each has its codes, two a byte with the first in the high half, and their scales: of each 64 elements along the rows the greatest
// magnitude, float32. Quantised doubly a scale is a byte: the index of its distance from their mean, over the greatest distance
// among 256 of them, in the signed dynamic map of 8 bits (Dettmers 2015). The mean is torch's, summed in its order.
#include "composite.hpp"
#include <cmath>
#include <map>
using namespace hone;

namespace {
constexpr int64_t kBlock = kNF4Block, kGroup = 256;
constexpr int64_t kDense = 1 << 20; // elements that are dense at once; on a device all are

struct Part4 {
  int64_t rows, codes, scales, groups; // offsets in bytes
  float mean;
};
struct Head4 : c10::BackendMeta {
  int64_t in, rows;
  at::ScalarType dtype;
  bool nested;
  std::vector<Part4> parts;
};
Head4 *head4(const Tensor &w) {
  auto *h = dynamic_cast<Head4 *>(w.unsafeGetTensorImpl()->get_backend_meta());
  TORCH_CHECK(h, "nf4: not a packed matrix: ", w.scalar_type(), " ", w.sizes());
  return h;
}
template <class K>
K *at4(const Tensor &w, int64_t offset) { return reinterpret_cast<K *>(static_cast<uint8_t *>(w.data_ptr()) + offset); }
int64_t blocks4(int64_t n) { return (n + kBlock - 1) / kBlock; }

// The 256 values of the dynamic map: in each of seven decades twice as many, in equal steps from 0.1 to 1, either sign; 0 and 1.
const std::vector<float> &dynamic_map() {
  static const std::vector<float> map = [] {
    std::vector<float> values{0, 1};
    for (int i = 0; i < 7; i++) {
      Tensor bounds = at::linspace(0.1, 1, (1 << i) + 1, at::TensorOptions().dtype(at::kFloat));
      Tensor middles = (bounds.slice(0, 0, -1) + bounds.slice(0, 1)) / 2.0 * std::pow(10.0, i - 6);
      for (int64_t k = 0; k < middles.numel(); k++) {
        const float v = ptr<float>(middles)[k];
        values.push_back(v), values.push_back(-v);
      }
    }
    std::sort(values.begin(), values.end());
    return values;
  }();
  return map;
}

// A packed matrix of zero scales.
Tensor empty4(at::ScalarType dtype, bool nested, int64_t in, const int64_t *rows, int64_t n) {
  auto h = c10::make_intrusive<Head4>();
  h->in = in, h->rows = 0, h->dtype = dtype, h->nested = nested;
  int64_t end = 0;
  auto take = [&](int64_t bytes) { int64_t at = (end + 63) / 64 * 64; return end = at + bytes, at; };
  for (int64_t i = 0; i < n; i++) {
    TORCH_CHECK(rows[i] > 0 && in > 0, "nf4: a part of ", rows[i], " rows of ", in);
    const int64_t blocks = blocks4(rows[i] * in);
    Part4 p{rows[i], 0, 0, 0, 0};
    p.codes = take(blocks * kBlock / 2); // a last block is read whole
    p.scales = take(nested ? blocks : 4 * blocks);
    p.groups = take(nested ? 4 * ((blocks + kGroup - 1) / kGroup) : 0);
    h->parts.push_back(p), h->rows += rows[i];
  }
  TORCH_CHECK(n > 0, "nf4: no parts");
  Tensor w = at::zeros({end}, at::TensorOptions().dtype(at::kByte).device(device));
  w.unsafeGetTensorImpl()->set_backend_meta(h);
  return w;
}

// Where v, of -1 to 1, is in the dynamic map. bitsandbytes' CPU code first rounds v to the nearest of 65536 steps and takes what is
// nearest to that, of two as near the lower: the many values of the map that lie close to 0 share a few steps.
uint8_t dynamic_code(float v) {
  constexpr int kSteps = 65536;
  static const std::vector<uint8_t> codes = [] {
    const std::vector<float> &map = dynamic_map();
    std::vector<uint8_t> codes(kSteps);
    size_t code = 0;
    for (int i = 0; i < kSteps; i++) {
      const float step = -1.0f + 2.0f * i / (kSteps - 1);
      while (code + 1 < map.size() && 0.5f * (map[code] + map[code + 1]) < step) code++;
      codes[i] = uint8_t(code);
    }
    return codes;
  }();
  v = v > -1 ? std::min(v, 1.0f) : -1; // -1 also for what is no number
  return codes[int((v + 1) * 0.5f * (kSteps - 1) + 0.5f)];
}

// For the composite: bytes of w as another type, and values on its device, which stay: recorded work goes on reading them.
Tensor bytes4(const Tensor &w, int64_t offset, int64_t bytes, at::ScalarType as) { return w.narrow(0, offset, bytes).view(as); }
const Tensor &values4(const Tensor &w, const std::vector<float> &values, at::IntArrayRef shape) {
  static auto &made = *new std::map<std::pair<const void *, std::string>, Tensor>;
  Tensor &t = made[{&values, w.device().str()}];
  if (!t.defined()) t = at::tensor(values).view(shape).to(w.device());
  return t;
}
const std::vector<float> &pairs4() { // the levels of a byte's two codes
  static const std::vector<float> pairs = [] {
    std::vector<float> v;
    for (int i = 0; i < 256; i++) v.push_back(kNF4Levels[i >> 4]), v.push_back(kNF4Levels[i & 15]);
    return v;
  }();
  return pairs;
}

// See block4.
Tensor block4_composite(const Tensor &w, const Head4 &h, int64_t r, int64_t rows, int64_t c, int64_t columns) {
  Tensor y = at::empty({rows, columns}, w.options().dtype(h.dtype));
  int64_t first = 0; // row of a part
  for (auto &p : h.parts) {
    const int64_t from = std::max(r, first), to = std::min(r + rows, first + p.rows);
    if (from < to) {
      const int64_t start = (from - first) * h.in, n = (to - from) * h.in, b = start / kBlock, blocks = blocks4(start + n) - b;
      Tensor scales = bytes4(w, p.scales + (h.nested ? b : 4 * b), h.nested ? blocks : 4 * blocks, h.nested ? at::kByte : at::kFloat);
      if (h.nested) {
        Tensor group = at::arange(b, b + blocks, w.options().dtype(at::kInt)).floor_divide_(kGroup);
        Tensor tops = bytes4(w, p.groups, 4 * ((blocks4(p.rows * h.in) + kGroup - 1) / kGroup), at::kFloat);
        scales = values4(w, dynamic_map(), {-1}).index_select(0, scales.to(at::kInt)) * tops.index_select(0, group) + p.mean;
      }
      Tensor v = values4(w, pairs4(), {256, 2}).index_select(0, bytes4(w, p.codes + b * kBlock / 2, blocks * kBlock / 2, at::kByte).to(at::kInt)).view({blocks, kBlock});
      v = v.mul_(scales.unsqueeze(1)).view(-1).narrow(0, start - b * kBlock, n).view({to - from, h.in});
      y.narrow(0, from - r, to - from).copy_(v.narrow(1, c, columns));
    }
    first += p.rows;
  }
  return y;
}

// Quantises x [rows, in], float32, to a part of w. The processor does it, for a device too: it is done once.
void pack4(const Tensor &w, int64_t part, const Tensor &x) {
  Head4 *h = head4(w);
  if (!w.is_cpu()) {
    Tensor host = w.cpu();
    host.unsafeGetTensorImpl()->set_backend_meta(w.unsafeGetTensorImpl()->get_backend_meta_intrusive_ptr());
    pack4(host, part, x.cpu());
    w.copy_(host);
    return;
  }
  TORCH_CHECK(0 <= part && part < int64_t(h->parts.size()), "nf4: no part ", part);
  Part4 *p = &h->parts[part];
  TORCH_CHECK(x.scalar_type() == at::kFloat && x.is_contiguous() && x.numel() == p->rows * h->in, "nf4: float32 [", p->rows, ", ", h->in, "] is wanted, not ", x.sizes());
  const int64_t n = x.numel(), blocks = blocks4(n);
  uint8_t *codes = at4<uint8_t>(w, p->codes);
  Tensor scales = at::empty({blocks}, x.options());
  float bounds[15];
  for (int i = 0; i < 15; i++) bounds[i] = (kNF4Levels[i] + kNF4Levels[i + 1]) / 2;
  at::parallel_for(0, blocks, 1024, [&](int64_t from, int64_t to) {
    for (int64_t b = from; b < to; b++) {
      const float *v = ptr<float>(x) + b * kBlock;
      const int64_t count = std::min(kBlock, n - b * kBlock);
      float most = 0;
      for (int64_t i = 0; i < count; i++) most = std::max(most, std::abs(v[i]));
      ptr<float>(scales)[b] = most;
      const float least = std::max(most, 1e-38f), scale = 1 / least;
      uint8_t code[kBlock] = {};
      for (int64_t i = 0; i < count; i++) {
        const float s = count < kBlock ? v[i] / least : v[i] * scale; // bitsandbytes divides in a last block that is not whole
        for (float bound : bounds) code[i] += s > bound;
      }
      for (int64_t i = 0; i < kBlock / 2; i++) codes[b * kBlock / 2 + i] = uint8_t(code[2 * i] << 4 | code[2 * i + 1]);
    }
  });
  if (!h->nested) {
    std::copy_n(ptr<float>(scales), blocks, at4<float>(w, p->scales));
    return;
  }
  Tensor mean = scales.mean(), far = scales - mean;
  p->mean = mean.item<float>();
  for (int64_t b = 0; b < blocks; b += kGroup) {
    const int64_t count = std::min(kGroup, blocks - b);
    const float *v = ptr<float>(far) + b, most = far.narrow(0, b, count).abs().max().item<float>(), scale = 1 / std::max(most, 1e-38f);
    at4<float>(w, p->groups)[b / kGroup] = most;
    for (int64_t i = 0; i < count; i++) at4<uint8_t>(w, p->scales)[b + i] = dynamic_code(v[i] * scale);
  }
}

// Rows r … r+rows and columns c … c+columns of w, dense.
Tensor block4(const Tensor &w, int64_t r, int64_t rows, int64_t c, int64_t columns) {
  Head4 *h = head4(w);
  TORCH_CHECK(0 <= r && r + rows <= h->rows && 0 <= c && c + columns <= h->in, "nf4: block outside of [", h->rows, ", ", h->in, "]");
  if (composite(w)) return block4_composite(w, *h, r, rows, c, columns);
  Tensor y = at::empty({rows, columns}, at::TensorOptions().dtype(h->dtype));
  at::parallel_for(0, rows, grain_of(columns, 1 << 15), [&](int64_t from, int64_t to) {
    std::vector<float> scales(h->nested ? blocks4(columns) + 1 : 0);
    for (int64_t i = from; i < to; i++) {
      const Part4 *p = h->parts.data();
      int64_t row = r + i;
      for (; row >= p->rows; p++) row -= p->rows;
      const int64_t first = row * h->in + c, block = first / kBlock;
      const float *own = at4<float>(w, p->scales) + block;
      if (h->nested) {
        const uint8_t *q = at4<uint8_t>(w, p->scales);
        for (int64_t b = block; b <= (first + columns - 1) / kBlock; b++) {
          const float far = dynamic_map()[q[b]] * at4<float>(w, p->groups)[b / kGroup];
          scales[b - block] = far + p->mean;
        }
        own = scales.data();
      }
      dispatch(y, [&](auto zero, auto &k) {
        using K = decltype(zero);
        k.nf4(at4<uint8_t>(w, p->codes), own, ptr<K>(y) + i * columns, first, columns);
      });
    }
  });
  return y;
}

// A weight of a linear layer [out, in], dense or packed.
bool packed(const Tensor &w) { return w.scalar_type() == at::kByte; }
int64_t rows_of(const Tensor &w) { return packed(w) ? head4(w)->rows : w.size(0); }
int64_t in_of(const Tensor &w) { return packed(w) ? head4(w)->in : w.size(1); }
at::ScalarType dtype_of(const Tensor &w) { return packed(w) ? head4(w)->dtype : w.scalar_type(); }
// Calls f(row, dense rows from there on) for some of its rows.
template <class F>
void by_rows(const Tensor &w, int64_t from, int64_t rows, F f) {
  if (!packed(w)) return f(0, w.narrow(0, from, rows));
  const int64_t step = composite(w) ? rows : grain_of(in_of(w), kDense);
  for (int64_t r = 0; r < rows; r += step) f(r, block4(w, from + r, std::min(step, rows - r), 0, in_of(w)));
}
} // namespace

extern "C" {
int hone_nf4_empty(hten *out, int dtype, int nested, int64_t in, const int64_t *rows, int parts, char **err) {
  GUARD(*out = give(empty4(at::ScalarType(dtype), nested != 0, in, rows, parts)))
}
int hone_nf4_pack(hten w, int64_t part, hten x, char **err) { GUARD(pack4(T(w), part, T(x))) }
int hone_nf4_block(hten *out, hten w, int64_t r, int64_t rows, int64_t c, int64_t columns, char **err) {
  GUARD(*out = give(block4(T(w), r, rows, c, columns)))
}
}
