/**
 * @file The arithmetic of the kernels, compiled once per instruction set (MATH names the table). Uses nothing of the
 * C++ library: the linker would keep one copy of its inline functions, which might then need a processor that is not
 * there.
 */
#include "math/activation.h"
#include "math/adamw.h"
#include "math/attention.h"
#include "math/decoder.h"
#include "math/linear.h"
#include "math/log-prob.h"
#include "math/norm.h"
#include "math/rope.h"

#define TEXT(name) #name
#define NAME(name) TEXT(name)

extern "C" const Math MATH = {
    NAME(MATH),       lanes,            resultsTogether, mostRows,         linearWidth,   arrangeRows,
    linear,           rmsNorm,          rmsNormGradient,  swiglu,          swigluGradient,    rope,          logProb,
    logProbGradient,  adamW,            sumOfSquares,    draw,              attentionScratch, attention,
    attentionGradient, attendScratch,   cachedAttention, decoderScratch,    decoderLayer,
};
