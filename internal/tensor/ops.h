// The operators of our own as plain C: what internal/tensor's Go files call.
//
// A hten is a torch::Tensor*, as in libtch. Every function catches what C++ throws: it returns 0, or 1 with a malloc'ed
// message in *err. An optional tensor is a null pointer. Shapes are in the .cpp files, beside the mathematics.
#pragma once
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
typedef void *hten;

// runtime.cpp
int hone_version(char **text, char **capability, int *abi, char **err);
int hone_set_threads(int n, char **err);
int hone_threads(void);
void hone_grad_mode(int on);
int hone_empty(hten *out, const int64_t *shape, int dims, int dtype, char **err);
int hone_huge(hten t, char **err);
int hone_fits_bfloat16(hten t, int *fits, char **err);
int hone_info(hten t, int64_t *shape, int64_t *stride, int *dims, int *dtype, int *contiguous, void **data, char **err);
int hone_leaf(hten *out, hten storage, int64_t offset, const int64_t *shape, int dims, int trainable, hten grad, char **err);
int hone_view(hten *out, hten t, int64_t offset, const int64_t *shape, int dims, char **err);
int hone_backward(const hten *outs, const hten *grads, int n, char **err);
int hone_gradient(hten *out, hten t, char **err);
int hone_cuda(int *devices, char **why, char **err);
char *hone_device_name(int i);
void hone_use_cpu(void);
void hone_thread(void);
int hone_use_cuda(int i, int same, char **name, char **err);
int hone_plugin(int *version, char **why, char **err);
int hone_graph_begin(void **graph, char **err);
int hone_graph_end(void *graph, char **err);
int hone_graph_replay(void *graph, char **err);
void hone_graph_free(void *graph);
void hone_graph_watch(int level);
int hone_draw_from(uint64_t key, char **err);
int hone_drawn(uint64_t *at, char **err);
int hone_draw_on(uint64_t at, char **err);
int hone_uniform(hten *out, const int64_t *shape, int dims, char **err);
int hone_on_device(void);
void hone_composites(int on);
int hone_read(hten t, void *to, char **err);
int hone_write(hten t, const void *from, char **err);
int hone_zero(hten t, char **err);
int hone_clone(hten *out, hten t, char **err);
void hone_free(hten t);

// One file an idea below.
int hone_embedding(hten *out, hten weight, hten ids, int64_t padding, char **err);
int hone_rmsnorm(hten *sum, hten *out, hten x, hten residual, hten weight, double eps, double shift, int to, char **err);
int hone_split(hten *outs, hten x, const int64_t *sizes, int n, char **err);
int hone_rope(hten *out, hten x, hten cos, hten sin, hten position, int64_t heads, char **err);
int hone_layernorm(hten *sum, hten *out, hten x, hten residual, hten weight, hten bias, double eps, int to, char **err);
int hone_swiglu(hten *out, hten gate_up, char **err);
int hone_geglu(hten *out, hten gate_up, char **err);
int hone_gelu(hten *out, hten x, char **err);
int hone_linear(hten *out, hten x, hten weight, hten bias, int compute, char **err);
int hone_lora(hten *out, hten x, hten weight, hten bias, hten a, hten b, hten magnitude, hten norms, const int64_t *parts, int nparts,
              const double *scales, double dropout, uint64_t seed, int compute, char **err);
int hone_row_norms(hten *out, hten weight, hten a, hten b, const int64_t *parts, int nparts, const double *scales, char **err);
int hone_nf4_empty(hten *out, int dtype, int nested, int64_t in, const int64_t *rows, int parts, char **err);
int hone_nf4_pack(hten w, int64_t part, hten x, char **err);
int hone_nf4_block(hten *out, hten w, int64_t r, int64_t rows, int64_t c, int64_t columns, char **err);
int hone_attention(hten *out, hten q, hten k, hten v, const int64_t *borders, int nborders, hten device, int64_t longest, double scale,
                   int64_t window, double cap, char **err);
int hone_attend_cache(hten *out, hten q, hten k, hten v, hten keys, hten values, const int64_t *slots, const int64_t *lengths,
                      hten place, hten where, hten until, hten used, hten starts, hten each, int64_t top, double scale, int64_t window, double cap, char **err);
int hone_cache_write(hten k, hten v, hten keys, hten values, const int64_t *slots, const int64_t *borders, int rows, char **err);
int hone_cross_entropy(hten *loss, hten *logp, hten *stats, hten x, hten weight, hten labels, hten token_weights, int dft, double cap,
                       int64_t chunk, char **err);
int hone_log_probs(hten *logp, hten *stats, hten x, hten weight, hten labels, double scale, double cap, int64_t chunk, char **err);
int hone_clip(hten g, hten control, hten stats, double clip, char **err);
int hone_adamw(hten w, hten g, hten m, hten v, hten control, double rate, double beta1, double beta2, double eps, double decay, char **err);
int hone_lion(hten w, hten g, hten m, hten control, double rate, double beta1, double beta2, double decay, char **err);
int hone_adafactor(hten w, hten g, hten row, hten column, hten control, const int64_t *place, double rate, double decay, char **err);
int hone_adafactor_vector(hten w, hten g, hten v, hten control, int64_t from, double rate, double decay, char **err);
int hone_muon(hten w, hten g, hten m, hten control, const int64_t *place, double stretch, double rate, double momentum, double decay, char **err);
int hone_sum_squares(hten x, double *out, char **err);
#ifdef __cplusplus
}
#endif
