// What libhone_cuda.so gives the worker, as plain C: the part that needs CUDA's headers. A message in err is malloc'ed.
#pragma once
#include <stdint.h>

struct hone_cuda_api {
  int version;                      // of this struct
  void *(*begin)(char **err);       // starts to record the current stream, which must not be the default one
  int (*end)(void *graph, char **err);
  int (*replay)(void *graph, char **err);
  void (*free)(void *graph);
  void (*watch)(int level);         // a hidden synchronisation is 0: allowed, 1: warned of, 2: an error

  // Kernels of our own on the current stream, each as in kernels.h; they return CUDA's error. Dtypes are those of at::ScalarType.
  int (*rope)(int dtype, const void *x, int64_t xs, void *y, const float *cos, const float *sin, const int64_t *position, int64_t rows,
              int64_t heads, int64_t dim, int64_t rot, int sign);
  int (*gate)(int dtype, int gelu, const void *gu, void *y, int64_t rows, int64_t f); // SwiGLU or GeGLU
  int (*gate_back)(int dtype, int gelu, const void *dy, const void *gu, void *dgu, int64_t rows, int64_t f);
  int (*rmsnorm)(int x, int y, const void *in, int64_t xs, const void *r, const void *w, void *s, void *out, void *rstd, int64_t rows, int64_t dim,
                 double eps, double shift);
  // dw: [norm_blocks(rows), dim], sums of some rows each, or null.
  int (*rmsnorm_back)(int x, int y, const void *dy, const void *ds, const void *s, int64_t ss, const void *w, const void *rstd, void *dx, void *dr,
                      void *dw, int64_t rows, int64_t dim, double shift);
  // Of the softmax of scale·z [rows, vocabulary]: the logarithm at the labels, that of the sum, and the gradient of -logp by scale·z, to
  // dz, of dtype `to`. Each but z and label may be null.
  int (*softmax)(int dtype, int to, const void *z, double scale, const int64_t *label, void *logp, void *lse, void *dz, int64_t rows,
                 int64_t vocabulary);
};
constexpr int kPluginVersion = 3; // raised when the interface changes, or the bits of a kernel: records name it

// A norm's pass back sums the gradient of its weight in so many blocks, each of so many rows at a time, in shared memory.
inline int64_t norm_blocks(int64_t rows) { return rows < 512 ? rows : 512; }
inline int64_t norm_rows(int64_t dim) { return dim <= 1024 ? 8 : 1; }
inline bool norm_fits(int64_t dim, int64_t size) { return norm_rows(dim) * dim * size <= 48 << 10; }
