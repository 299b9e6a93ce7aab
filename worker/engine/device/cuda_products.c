/* Owns cuBLASLt's handle and, per thread, what was found out about products of each shape: asking
 * cuBLASLt for an algorithm costs more than putting the product on a stream.
 *
 * cuBLASLt thinks in columns: a row-major y [rows, out] is its y^T [out, rows], so the weights come
 * first and are the transposed side. */
#include "worker/engine/device/cuda_products.h"

#include <cublasLt.h>
#include <dlfcn.h>
#include <pthread.h>

enum { SHAPES_KEPT = 64 };

static struct {
    cublasStatus_t (*create)(cublasLtHandle_t *);
    cublasStatus_t (*operation_create)(cublasLtMatmulDesc_t *, cublasComputeType_t, cudaDataType_t);
    cublasStatus_t (*operation_set)(cublasLtMatmulDesc_t, cublasLtMatmulDescAttributes_t,
                                    const void *, size_t);
    cublasStatus_t (*operation_destroy)(cublasLtMatmulDesc_t);
    cublasStatus_t (*layout_create)(cublasLtMatrixLayout_t *, cudaDataType_t, uint64_t, uint64_t,
                                    int64_t);
    cublasStatus_t (*layout_destroy)(cublasLtMatrixLayout_t);
    cublasStatus_t (*preference_create)(cublasLtMatmulPreference_t *);
    cublasStatus_t (*preference_set)(cublasLtMatmulPreference_t,
                                     cublasLtMatmulPreferenceAttributes_t, const void *, size_t);
    cublasStatus_t (*preference_destroy)(cublasLtMatmulPreference_t);
    cublasStatus_t (*find)(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                           cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                           cublasLtMatmulPreference_t, int, cublasLtMatmulHeuristicResult_t[],
                           int *);
    cublasStatus_t (*run)(cublasLtHandle_t, cublasLtMatmulDesc_t, const void *, const void *,
                          cublasLtMatrixLayout_t, const void *, cublasLtMatrixLayout_t,
                          const void *, const void *, cublasLtMatrixLayout_t, void *,
                          cublasLtMatrixLayout_t, const cublasLtMatmulAlgo_t *, void *, size_t,
                          cudaStream_t);
} lt;

static const struct {
    const char *name;
    void **function;
} symbols[] = {
    {"cublasLtCreate", (void **)&lt.create},
    {"cublasLtMatmulDescCreate", (void **)&lt.operation_create},
    {"cublasLtMatmulDescSetAttribute", (void **)&lt.operation_set},
    {"cublasLtMatmulDescDestroy", (void **)&lt.operation_destroy},
    {"cublasLtMatrixLayoutCreate", (void **)&lt.layout_create},
    {"cublasLtMatrixLayoutDestroy", (void **)&lt.layout_destroy},
    {"cublasLtMatmulPreferenceCreate", (void **)&lt.preference_create},
    {"cublasLtMatmulPreferenceSetAttribute", (void **)&lt.preference_set},
    {"cublasLtMatmulPreferenceDestroy", (void **)&lt.preference_destroy},
    {"cublasLtMatmulAlgoGetHeuristic", (void **)&lt.find},
    {"cublasLtMatmul", (void **)&lt.run},
};

/* A product's shape, and how cuBLASLt does it. */
struct shape {
    enum dtype operand;
    int64_t rows, out, in, y_stride;
    bool accumulate;
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t w, x, y;
    cublasLtMatmulAlgo_t algorithm;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of loading */
static bool loaded;
static _Thread_local cublasLtHandle_t handle;
static _Thread_local struct shape shapes[SHAPES_KEPT];
static _Thread_local unsigned shape_count; /* made so far; the oldest gives way */

static enum status check(cublasStatus_t code, const char *call)
{
    return code == CUBLAS_STATUS_SUCCESS
               ? STATUS_OK
               : fail(code == CUBLAS_STATUS_ALLOC_FAILED ? STATUS_RESOURCE_EXHAUSTED
                                                         : STATUS_INTERNAL,
                      "%s: cuBLAS error %d", call, (int)code);
}

static enum status load(void)
{
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
    const char *name = names[CUBLAS_VER_MAJOR >= 13 ? 0 : 1];
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return fail(STATUS_FAILED_PRECONDITION,
                    "%s is not to be had (%s): install the CUDA toolkit's cuBLAS", name, dlerror());
    for (size_t s = 0; s < sizeof symbols / sizeof symbols[0]; s++) {
        *symbols[s].function = dlsym(library, symbols[s].name);
        if (!*symbols[s].function)
            return fail(STATUS_FAILED_PRECONDITION, "%s has no %s", name, symbols[s].name);
    }
    loaded = true;
    return STATUS_OK;
}

enum status cuda_products_load(void)
{
    pthread_mutex_lock(&lock);
    enum status status = loaded ? STATUS_OK : load();
    pthread_mutex_unlock(&lock);
    return status;
}

static void forget(struct shape *shape)
{
    if (shape->y)
        lt.layout_destroy(shape->y);
    if (shape->x)
        lt.layout_destroy(shape->x);
    if (shape->w)
        lt.layout_destroy(shape->w);
    if (shape->operation)
        lt.operation_destroy(shape->operation);
    *shape = (struct shape){0};
}

static enum status describe(struct shape *shape)
{
    const cudaDataType_t narrow = shape->operand == DTYPE_F16 ? CUDA_R_16F : CUDA_R_16BF;
    const cublasOperation_t transposed = CUBLAS_OP_T;
    TRY(check(lt.operation_create(&shape->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F),
              "cublasLtMatmulDescCreate"));
    TRY(check(lt.operation_set(shape->operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                               sizeof transposed),
              "cublasLtMatmulDescSetAttribute"));
    TRY(check(
        lt.layout_create(&shape->w, narrow, (uint64_t)shape->in, (uint64_t)shape->out, shape->in),
        "cublasLtMatrixLayoutCreate"));
    TRY(check(
        lt.layout_create(&shape->x, narrow, (uint64_t)shape->in, (uint64_t)shape->rows, shape->in),
        "cublasLtMatrixLayoutCreate"));
    return check(lt.layout_create(&shape->y, CUDA_R_32F, (uint64_t)shape->out,
                                  (uint64_t)shape->rows, shape->y_stride),
                 "cublasLtMatrixLayoutCreate");
}

static enum status choose(struct shape *shape, size_t workspace_bytes)
{
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t found;
    int count = 0;
    TRY(check(lt.preference_create(&preference), "cublasLtMatmulPreferenceCreate"));
    enum status status =
        check(lt.preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                &workspace_bytes, sizeof workspace_bytes),
              "cublasLtMatmulPreferenceSetAttribute");
    if (status == STATUS_OK)
        status = check(lt.find(handle, shape->operation, shape->w, shape->x, shape->y, shape->y,
                               preference, 1, &found, &count),
                       "cublasLtMatmulAlgoGetHeuristic");
    lt.preference_destroy(preference);
    TRY(status);
    if (count == 0)
        return fail(STATUS_UNIMPLEMENTED, "cuBLASLt has no product of %lld rows, %lld x %lld",
                    (long long)shape->rows, (long long)shape->out, (long long)shape->in);
    shape->algorithm = found.algo;
    return STATUS_OK;
}

static bool matches(const struct shape *shape, const struct cuda_product *args)
{
    return shape->operation && shape->operand == args->operand && shape->rows == args->rows &&
           shape->out == args->out && shape->in == args->in && shape->y_stride == args->y_stride &&
           shape->accumulate == args->accumulate;
}

static enum status find_shape(const struct shape **found, const struct cuda_product *args)
{
    enum status status = STATUS_OK;
    for (int s = 0; s < SHAPES_KEPT; s++)
        if (matches(&shapes[s], args)) {
            *found = &shapes[s];
            return STATUS_OK;
        }
    struct shape *shape = &shapes[shape_count++ % SHAPES_KEPT];
    forget(shape);
    shape->operand = args->operand;
    shape->rows = args->rows;
    shape->out = args->out;
    shape->in = args->in;
    shape->y_stride = args->y_stride;
    shape->accumulate = args->accumulate;
    TRY_ELSE(describe(shape), undo);
    TRY_ELSE(choose(shape, args->workspace_bytes), undo);
    *found = shape;
    return STATUS_OK;
undo:
    forget(shape);
    return status;
}

enum status cuda_products_run(const struct cuda_product *args, struct CUstream_st *stream)
{
    const struct shape *shape = NULL;
    const float one = 1;
    const float kept = args->accumulate ? 1 : 0;
    if (args->rows == 0 || args->out == 0)
        return STATUS_OK;
    if (!handle)
        TRY(check(lt.create(&handle), "cublasLtCreate"));
    TRY(find_shape(&shape, args));
    return check(lt.run(handle, shape->operation, &one, args->w, shape->w, args->x, shape->x, &kept,
                        args->y, shape->y, args->y, shape->y, &shape->algorithm, args->workspace,
                        args->workspace_bytes, stream),
                 "cublasLtMatmul");
}
