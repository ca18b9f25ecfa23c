// Standard headers stand before the pragma: their inline functions must not be compiled for this instruction set.
#include <cmath>
#include <cstring>
#include <immintrin.h>
#include "kernels.h"
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,avx2,prefer-vector-width=512")
#define HONE_ISA avx512
#define HONE_AVX512
#include "kernels_impl.h"
