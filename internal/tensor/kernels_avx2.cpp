// Standard headers stand before the pragma: their inline functions must not be compiled for this instruction set.
#include <cmath>
#include <cstring>
#include <immintrin.h>
#include "kernels.h"
#pragma GCC target("avx2,fma")
#define HONE_ISA avx2
#define HONE_AVX2
#include "kernels_impl.h"
