/**
 * @file The arithmetic of the kernels, compiled once per instruction set (MATH names the table). Does not use
 * the C++ library: the linker would keep one copy of its inline functions, perhaps with instructions that the processor
 * lacks.
 */
#include "math/activation.h"
#include "math/adamw.h"
#include "math/attention.h"
#include "math/bytes.h"
#include "math/decoder.h"
#include "math/linear.h"
#include "math/log-prob.h"
#include "math/matmul.h"
#include "math/norm.h"
#include "math/rope.h"

extern "C" const Math MATH = {
    .lanes = lanes,
    .multipliesPairs = multipliesPairs,
    .linearUnit = resultsTogether,
    .linearRows = mostRows,
    .linearWidth = linearWidth,
    .arrangeRows = arrangeRows,
    .linear = linear,
    .quantize = quantize,
    .dequantize = dequantize,
    .matMulRows = rowsPerBlock,
    .matMulPanels = matMulPanels,
    .matMulPanel = matMulPanel,
    .matMulArrange = matMulArrange,
    .matMulScratch = matMulScratch,
    .matMul = matMul,
    .rmsNorm = rmsNorm,
    .rmsNormGradient = rmsNormGradient,
    .swiglu = swiglu,
    .swigluGradient = swigluGradient,
    .rope = rope,
    .logProb = logProb,
    .logProbGradient = logProbGradient,
    .adamW = adamW,
    .sumOfSquares = sumOfSquares,
    .draw = draw,
    .attentionScratch = attentionScratch,
    .attention = attention,
    .attentionGradient = attentionGradient,
    .attendScratch = attendScratch,
    .cachedAttention = cachedAttention,
    .decoderScratch = decoderScratch,
    .decoderLayer = decoderLayer,
};
