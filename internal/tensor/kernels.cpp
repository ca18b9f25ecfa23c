#define HONE_ISA baseline
#include "kernels_impl.h"

namespace hone {
namespace avx512 { extern const Kernels kTable; }
namespace avx2 { extern const Kernels kTable; }

const Kernels &kernels() {
  static const Kernels &chosen = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")
                                     ? avx512::kTable
                                 : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? avx2::kTable
                                                                                                   : baseline::kTable;
  return chosen;
}
} // namespace hone
