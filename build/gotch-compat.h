// Forced in before each C++ file of gotch (CGO_CXXFLAGS in .tools/env.sh), which was generated for an older libtorch.
// Three of the functions that it calls have other parameters in 2.11: the older ones stand here. hone calls none of them.
// Our own operators define HONE_OPS: they are spared the cost of torch/torch.h.
#pragma once
#if defined(__cplusplus) && !defined(HONE_OPS)
#include <torch/torch.h>

#include <stdexcept>

namespace at {

using MaybeTensor = std::optional<Tensor>;
using MaybeType = std::optional<ScalarType>;

// 2.11 added the scale and the output type.
inline Tensor _cslt_sparse_mm(const Tensor &compressed, const Tensor &dense, const Tensor &bias, bool transpose) {
  return at::_cslt_sparse_mm(compressed, dense, MaybeTensor(bias), MaybeTensor(), MaybeType(), transpose);
}

// 2.11 has no form that also returns the largest absolute value.
inline std::tuple<Tensor, Tensor> _scaled_mm(const Tensor &, const Tensor &, const Tensor &, MaybeType, const Tensor &,
                                             const Tensor &, const Tensor &) {
  throw std::runtime_error("_scaled_mm: libtorch 2.11 has no such form");
}

inline std::tuple<Tensor, Tensor> _scaled_mm_out(Tensor &, Tensor &, const Tensor &, const Tensor &, const Tensor &, MaybeType,
                                                 const Tensor &, const Tensor &, const Tensor &) {
  throw std::runtime_error("_scaled_mm_out: libtorch 2.11 has no such form");
}

}  // namespace at
#endif
