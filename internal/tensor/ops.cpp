// The operators as one translation unit: libtorch's headers cost ten seconds of compilation, once instead of once a file.
#include "runtime.hpp"

#include "attention.hpp"
#include "cross_entropy.hpp"
#include "embedding.hpp"
#include "layernorm.hpp"
#include "linear.hpp"
#include "matrix_optim.hpp" // and adamw.hpp
#include "norm.hpp"
#include "rope.hpp"
#include "swiglu.hpp"
