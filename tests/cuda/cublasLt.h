/* cuBLASLt, as far as it is used: D = alpha op(A) op(B) + beta C (+ bias), by columns, or with the sums of op(B) left in
   the bias.
   Slow, summed in double precision, and strict: what the library's manual forbids is
   refused. Names and numbers are cuBLASLt's. On some GPU the library refuses more, and rounds otherwise; so words in
   the environment's CUBLASLT_HOSTILE make it worse:

     unit      refuses a product that has a dimension of one
     bias      refuses to add a bias, and to make the sums
     absent    has no algorithm when it is asked for the first time, and every tenth time after that
     rounds    rounds a product to fp16 before it adds a bias or what was there (an H100 does)
     missing   cannot be found
     truncates cuts partial sums of eight products to fp32, towards zero, as tensor cores do */
#ifndef CUBLASLT_H
#define CUBLASLT_H

#include "cuda_fp16.h"
#include "cuda_runtime.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <vector>

enum cudaDataType { CUDA_R_32F = 0, CUDA_R_16F = 2 };
enum cublasStatus_t {
    CUBLAS_STATUS_SUCCESS = 0, CUBLAS_STATUS_INVALID_VALUE = 7, CUBLAS_STATUS_NOT_SUPPORTED = 15
};
enum cublasOperation_t { CUBLAS_OP_N, CUBLAS_OP_T };
enum cublasComputeType_t { CUBLAS_COMPUTE_32F = 68 };
enum cublasLtEpilogue_t { CUBLASLT_EPILOGUE_DEFAULT = 1, CUBLASLT_EPILOGUE_BIAS = 4, CUBLASLT_EPILOGUE_BGRADB = 512 };
enum { CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE = 2 };
enum cublasLtMatmulDescAttributes_t {
    CUBLASLT_MATMUL_DESC_TRANSA = 3, CUBLASLT_MATMUL_DESC_TRANSB = 4,
    CUBLASLT_MATMUL_DESC_EPILOGUE = 7, CUBLASLT_MATMUL_DESC_BIAS_POINTER = 8
};
enum cublasLtMatmulPreferenceAttributes_t {
    CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK = 3,
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES = 5, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES
};

typedef struct harness_blas {} *cublasLtHandle_t;

typedef struct harness_operation {
    cublasOperation_t a, b;
    cublasLtEpilogue_t epilogue;
    const void *bias;
} *cublasLtMatmulDesc_t;

typedef struct harness_layout {
    cudaDataType type;
    uint64_t rows, columns;
    int64_t stride; /* elements from a column to the next */

    bool operator==(const harness_layout &o) const
    {
        return type == o.type && rows == o.rows && columns == o.columns && stride == o.stride;
    }
} *cublasLtMatrixLayout_t;

typedef struct harness_preference {
    uint64_t workspace;
    uint32_t reductions;
    uint32_t alignment[4]; /* bytes, of A, B, C, D */
} *cublasLtMatmulPreference_t;

/* What an algorithm was found for, and it can do nothing else. */
struct cublasLtMatmulAlgo_t {
    harness_operation operation;
    harness_layout layouts[4];
    uint32_t alignment[4];
    uint64_t workspace;
};

struct cublasLtMatmulHeuristicResult_t {
    cublasLtMatmulAlgo_t algo;
    size_t workspaceSize;
    cublasStatus_t state;
};

namespace harness {

inline bool hostile(const char *how)
{
    const char *words = getenv("CUBLASLT_HOSTILE");
    return words && strstr(words, how);
}

/* The functions are part of the test, which is where they are looked up. */
#define LIBRARY (harness::hostile("missing") ? "libcublasLt.so.missing" : NULL)
#define FIND(library, name) ((void)(library), &name)

/* set: copies an attribute, whose size the caller must know. */
template <class T> cublasStatus_t set(T *attribute, const void *value, size_t bytes)
{
    if (!value || bytes != sizeof(T))
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(attribute, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

inline size_t size_of(cudaDataType type)
{
    return type == CUDA_R_16F ? 2 : 4;
}

/* fits: whether the four matrices go together. */
inline bool fits(const harness_operation &o, const harness_layout &a, const harness_layout &b,
                 const harness_layout &c, const harness_layout &d)
{
    uint64_t m = o.a == CUBLAS_OP_T ? a.columns : a.rows, n = o.b == CUBLAS_OP_T ? b.rows : b.columns;
    uint64_t k = o.a == CUBLAS_OP_T ? a.rows : a.columns;
    return k == (o.b == CUBLAS_OP_T ? b.columns : b.rows) && m > 0 && n > 0 && k > 0
           && c.rows == m && c.columns == n && d.rows == m && d.columns == n
           && a.type == b.type && c.type == d.type
           && (a.type == CUDA_R_16F || d.type == CUDA_R_32F);
}

/* lies_there: whether a matrix is in one array of the device, and aligned as promised. */
inline bool lies_there(const void *p, const harness_layout &l, uint32_t alignment)
{
    size_t elements = (l.columns - 1) * (uint64_t)l.stride + l.rows;
    return (uintptr_t)p % alignment == 0 && room(p) >= (ptrdiff_t)(elements * size_of(l.type));
}

inline double element(const void *p, cudaDataType type, size_t i)
{
    return type == CUDA_R_16F ? __half2float(((const __half *)p)[i]) : ((const float *)p)[i];
}

/* lines: op(A) by rows, or op(B) by columns: k numbers for each. */
inline std::vector<double> lines(const void *p, const harness_layout &l, bool by_columns)
{
    std::vector<double> x(l.rows * l.columns);
    for (uint64_t j = 0; j < l.columns; j++)
        for (uint64_t i = 0; i < l.rows; i++)
            x[by_columns ? j * l.rows + i : i * l.columns + j] = element(p, l.type, j * l.stride + i);
    return x;
}

inline void multiply(const harness_operation &o, const harness_layout *l, float alpha, const void *a,
                     const void *b, float beta, const void *c, void *d)
{
    std::vector<double> left = lines(a, l[0], o.a == CUBLAS_OP_T);
    std::vector<double> right = lines(b, l[1], o.b == CUBLAS_OP_N);
    size_t m = l[3].rows, n = l[3].columns, k = left.size() / m;
    bool rounds = hostile("rounds"), truncates = hostile("truncates");
    for (size_t j = 0; o.epilogue == CUBLASLT_EPILOGUE_BGRADB && j < n; j++) {
        double sum = 0;
        for (size_t h = 0; h < k; h++)
            sum += right[j * k + h];
        if (l[3].type == CUDA_R_16F)
            ((__half *)o.bias)[j] = __float2half_rn((float)sum);
        else
            ((float *)o.bias)[j] = (float)sum;
    }
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < m; i++) {
            double sum = 0;
            for (size_t h = 0; h < k; h++) {
                sum += left[i * k + h] * right[j * k + h];
                if (truncates && (h + 1) % 8 == 0)
                    sum = fabs((float)sum) > fabs(sum) ? nextafterf((float)sum, 0) : (float)sum;
            }
            sum *= alpha;
            if (rounds && l[3].type == CUDA_R_16F)
                sum = __half2float(__float2half_rn((float)sum));
            if (beta != 0)
                sum += beta * element(c, l[2].type, j * l[2].stride + i);
            if (o.epilogue == CUBLASLT_EPILOGUE_BIAS)
                sum += element(o.bias, l[3].type, i);
            size_t at = j * l[3].stride + i;
            if (l[3].type == CUDA_R_16F)
                ((__half *)d)[at] = __float2half_rn((float)sum);
            else
                ((float *)d)[at] = (float)sum;
        }
}

} // namespace harness

inline cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    *handle = new harness_blas;
    return CUBLAS_STATUS_SUCCESS;
}

inline cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *operation,
                                               cublasComputeType_t, cudaDataType scale)
{
    *operation = new harness_operation{CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT, NULL};
    return scale == CUDA_R_32F ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

inline cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t o,
                                                     cublasLtMatmulDescAttributes_t attribute,
                                                     const void *value, size_t bytes)
{
    switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA: return harness::set(&o->a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB: return harness::set(&o->b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return harness::set(&o->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return harness::set(&o->bias, value, bytes);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

inline cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type,
                                                 uint64_t rows, uint64_t columns, int64_t stride)
{
    *layout = new harness_layout{type, rows, columns, stride};
    return stride >= (int64_t)rows ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

inline cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference)
{
    *preference = new harness_preference{0, 0, {256, 256, 256, 256}};
    return CUBLAS_STATUS_SUCCESS;
}

inline cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference)
{
    delete preference;
    return CUBLAS_STATUS_SUCCESS;
}

inline cublasStatus_t
cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                     cublasLtMatmulPreferenceAttributes_t attribute,
                                     const void *value, size_t bytes)
{
    if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
        return harness::set(&p->workspace, value, bytes);
    if (attribute == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK)
        return harness::set(&p->reductions, value, bytes);
    return harness::set(&p->alignment[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], value,
                        bytes);
}

inline cublasStatus_t
cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t blas, cublasLtMatmulDesc_t o, cublasLtMatrixLayout_t a,
                               cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                               cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t p, int wanted,
                               cublasLtMatmulHeuristicResult_t *found, int *count)
{
    *count = 0;
    if (!blas || wanted < 1 || (o->epilogue != CUBLASLT_EPILOGUE_DEFAULT && !o->bias))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (!harness::fits(*o, *a, *b, *c, *d))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    bool unit = d->rows == 1 || d->columns == 1 || a->rows == 1 || a->columns == 1;
    static int asked;
    if ((harness::hostile("unit") && unit)
        || (harness::hostile("bias") && o->epilogue != CUBLASLT_EPILOGUE_DEFAULT))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (harness::hostile("absent") && asked++ % 10 == 0)
        return CUBLAS_STATUS_SUCCESS;
    *found = {{*o, {*a, *b, *c, *d}, {}, p->workspace}, p->workspace, CUBLAS_STATUS_SUCCESS};
    memcpy(found->algo.alignment, p->alignment, sizeof p->alignment);
    *count = 1;
    return CUBLAS_STATUS_SUCCESS;
}

inline cublasStatus_t
cublasLtMatmul(cublasLtHandle_t blas, cublasLtMatmulDesc_t operation, const void *alpha, const void *a,
               cublasLtMatrixLayout_t a_layout, const void *b, cublasLtMatrixLayout_t b_layout,
               const void *beta, const void *c, cublasLtMatrixLayout_t c_layout, void *d,
               cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algorithm,
               void *workspace, size_t workspace_bytes, cudaStream_t stream)
{
    const void *const matrices[] = {a, b, c, d};
    const harness_layout layouts[] = {*a_layout, *b_layout, *c_layout, *d_layout};
    cublasLtMatmulAlgo_t plan = *algorithm;
    harness_operation o = *operation;
    if (!blas || !alpha || !beta || o.a != plan.operation.a || o.b != plan.operation.b
        || o.epilogue != plan.operation.epilogue
        || !std::equal(layouts, layouts + 4, plan.layouts)
        || workspace_bytes < plan.workspace || (uintptr_t)workspace % 16 != 0
        || !harness::on_device(workspace, workspace_bytes))
        return CUBLAS_STATUS_INVALID_VALUE;
    for (const harness_layout &l : layouts)
        if (harness::dry && (int64_t)l.columns * l.stride > INT_MAX)
            harness::fault("a product's matrix of %jd by %jd, more than an int counts", (intmax_t)l.columns,
                           (intmax_t)l.stride);
    for (int i = 0; i < 4; i++)
        if (!harness::lies_there(matrices[i], layouts[i], plan.alignment[i]))
            return CUBLAS_STATUS_INVALID_VALUE;
    uint64_t biases = o.epilogue == CUBLASLT_EPILOGUE_BGRADB ? layouts[3].columns : layouts[3].rows;
    if (o.epilogue != CUBLASLT_EPILOGUE_DEFAULT
        && (!o.bias || (uintptr_t)o.bias % plan.alignment[3] != 0
            || !harness::on_device(o.bias, biases * harness::size_of(layouts[3].type))))
        return CUBLAS_STATUS_INVALID_VALUE;
    harness::enqueue(stream, [=, scale = *(const float *)alpha, keep = *(const float *)beta] {
        harness::kernel = "cublasLtMatmul";
        harness::multiply(o, plan.layouts, scale, a, b, keep, c, d);
        memset(workspace, 0xff, plan.workspace < 4096 ? plan.workspace : 4096);
    });
    return CUBLAS_STATUS_SUCCESS;
}

#endif
