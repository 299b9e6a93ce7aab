/* Owns cuBLASLt's handle and, per thread, what was found out about products of each shape: asking
 * cuBLASLt for an algorithm costs more than putting the product on a stream.
 *
 * cuBLASLt thinks in columns: a row-major y [rows, out] is its y^T [out, rows], so the weights come
 * first, and a side that lies as struct cuda_product has it by itself is one that it transposes. */
#include "worker/engine/device/cuda_products.h"

#include <cublasLt.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

/* cuBLASLt takes memory to be aligned to 256 bytes where it is not told otherwise, and on sm_90 the
 * workspace has to be. */
enum { SHAPES_KEPT = 64, ALIGNMENT_MOST = 256, TEXT_BYTES = 320 };

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
    const char *(*status_name)(cublasStatus_t);
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
    {"cublasLtGetStatusName", (void **)&lt.status_name},
};

/* All that cuBLASLt's choice of an algorithm may rest on. */
struct product_key {
    int64_t rows, out, in, y_stride;
    int64_t workspace_bytes;
    int32_t w_alignment, x_alignment, y_alignment; /* bytes */
    int32_t operand;                               /* enum dtype */
    bool x_transposed, w_transposed;
};

/* A product's shape, and how cuBLASLt does it. */
struct shape {
    struct product_key key;
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t w, x, y;
    cublasLtMatmulAlgo_t algorithm;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of loading */
static bool loaded;
static _Thread_local cublasLtHandle_t handle;
static _Thread_local struct shape shapes[SHAPES_KEPT];
static _Thread_local unsigned shape_count; /* made so far; the oldest gives way */

/* As cuda_error.h has it: what a device fails at is lost. */
static enum status status_of(cublasStatus_t code)
{
    if (code == CUBLAS_STATUS_ALLOC_FAILED)
        return STATUS_RESOURCE_EXHAUSTED;
    if (code == CUBLAS_STATUS_EXECUTION_FAILED || code == CUBLAS_STATUS_INTERNAL_ERROR)
        return STATUS_UNAVAILABLE;
    return STATUS_INTERNAL;
}

static enum status check(cublasStatus_t code, const char *call)
{
    return code == CUBLAS_STATUS_SUCCESS ? STATUS_OK
                                         : fail(status_of(code), "%s: cuBLAS error %d, %s", call,
                                                (int)code, lt.status_name(code));
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

/* ---- shapes ---- */

static int32_t alignment_of(const void *memory)
{
    int32_t alignment = ALIGNMENT_MOST;
    while ((uintptr_t)memory % (uintptr_t)alignment != 0)
        alignment /= 2;
    return alignment;
}

static struct product_key key_of(const struct cuda_product *args)
{
    return (struct product_key){
        .rows = args->rows,
        .out = args->out,
        .in = args->in,
        .y_stride = args->y_stride,
        .workspace_bytes = (int64_t)args->workspace_bytes,
        .w_alignment = alignment_of(args->w),
        .x_alignment = alignment_of(args->x),
        .y_alignment = alignment_of(args->y),
        .operand = (int32_t)args->operand,
        .x_transposed = args->x_transposed,
        .w_transposed = args->w_transposed,
    };
}

static bool same(const struct product_key *a, const struct product_key *b)
{
    return a->rows == b->rows && a->out == b->out && a->in == b->in && a->y_stride == b->y_stride &&
           a->workspace_bytes == b->workspace_bytes && a->w_alignment == b->w_alignment &&
           a->x_alignment == b->x_alignment && a->y_alignment == b->y_alignment &&
           a->operand == b->operand && a->x_transposed == b->x_transposed &&
           a->w_transposed == b->w_transposed;
}

/* Elements from column to column of a side, in cuBLASLt's words. */
static int64_t w_stride(const struct product_key *key)
{
    return key->w_transposed ? key->out : key->in;
}

static int64_t x_stride(const struct product_key *key)
{
    return key->x_transposed ? key->rows : key->in;
}

/* A product in cuBLASLt's words, for messages: what it takes to make the same call alone. */
static void word(char text[TEXT_BYTES], const struct product_key *key)
{
    snprintf(text, TEXT_BYTES,
             "%c%c product of %s to f32, m %lld n %lld k %lld, lda %lld ldb %lld ldc %lld, A B C "
             "aligned to %d %d %d bytes, %lld bytes of workspace",
             key->w_transposed ? 'N' : 'T', key->x_transposed ? 'T' : 'N',
             dtype_name((enum dtype)key->operand), (long long)key->out, (long long)key->rows,
             (long long)key->in, (long long)w_stride(key), (long long)x_stride(key),
             (long long)key->y_stride, (int)key->w_alignment, (int)key->x_alignment,
             (int)key->y_alignment, (long long)key->workspace_bytes);
}

/* Of a call that speaks of one product. */
static enum status check_product(cublasStatus_t code, const char *call,
                                 const struct product_key *key)
{
    char text[TEXT_BYTES];
    if (code == CUBLAS_STATUS_SUCCESS)
        return STATUS_OK;
    word(text, key);
    return fail(status_of(code), "%s: cuBLAS error %d, %s: %s", call, (int)code,
                lt.status_name(code), text);
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

/* One side: its rows and columns are those of memory. */
static enum status describe_side(struct shape *shape, cublasLtMatrixLayout_t *side,
                                 cublasLtMatmulDescAttributes_t attribute, bool transposed,
                                 int64_t length, int64_t stride)
{
    const struct product_key *key = &shape->key;
    const cudaDataType_t narrow = key->operand == DTYPE_F16 ? CUDA_R_16F : CUDA_R_16BF;
    const cublasOperation_t operation = transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    TRY(check(lt.operation_set(shape->operation, attribute, &operation, sizeof operation),
              "cublasLtMatmulDescSetAttribute"));
    return check(lt.layout_create(side, narrow, (uint64_t)stride, (uint64_t)length, stride),
                 "cublasLtMatrixLayoutCreate");
}

static enum status describe(struct shape *shape)
{
    const struct product_key *key = &shape->key;
    TRY(check(lt.operation_create(&shape->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F),
              "cublasLtMatmulDescCreate"));
    TRY(describe_side(shape, &shape->w, CUBLASLT_MATMUL_DESC_TRANSA, !key->w_transposed,
                      key->w_transposed ? key->in : key->out, w_stride(key)));
    TRY(describe_side(shape, &shape->x, CUBLASLT_MATMUL_DESC_TRANSB, key->x_transposed,
                      key->x_transposed ? key->in : key->rows, x_stride(key)));
    return check(lt.layout_create(&shape->y, CUDA_R_32F, (uint64_t)key->out, (uint64_t)key->rows,
                                  key->y_stride),
                 "cublasLtMatrixLayoutCreate");
}

static enum status prefer(cublasLtMatmulPreference_t preference, const struct product_key *key)
{
    const uint64_t workspace_bytes = (uint64_t)key->workspace_bytes;
    const struct {
        cublasLtMatmulPreferenceAttributes_t attribute;
        int32_t alignment;
    } operands[] = {
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key->w_alignment},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key->x_alignment},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key->y_alignment},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key->y_alignment},
    };
    TRY(check(lt.preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                &workspace_bytes, sizeof workspace_bytes),
              "cublasLtMatmulPreferenceSetAttribute"));
    for (size_t o = 0; o < sizeof operands / sizeof operands[0]; o++) {
        const uint32_t alignment = (uint32_t)operands[o].alignment;
        TRY(check(
            lt.preference_set(preference, operands[o].attribute, &alignment, sizeof alignment),
            "cublasLtMatmulPreferenceSetAttribute"));
    }
    return STATUS_OK;
}

static enum status choose(struct shape *shape)
{
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t found = {.state = CUBLAS_STATUS_NOT_SUPPORTED};
    int count = 0;
    TRY(check(lt.preference_create(&preference), "cublasLtMatmulPreferenceCreate"));
    enum status status = prefer(preference, &shape->key);
    if (status == STATUS_OK)
        status = check_product(lt.find(handle, shape->operation, shape->w, shape->x, shape->y,
                                       shape->y, preference, 1, &found, &count),
                               "cublasLtMatmulAlgoGetHeuristic", &shape->key);
    lt.preference_destroy(preference);
    TRY(status);
    TRY(check_product(count > 0 ? found.state : CUBLAS_STATUS_NOT_SUPPORTED,
                      "cublasLtMatmulAlgoGetHeuristic's best", &shape->key));
    shape->algorithm = found.algo;
    return STATUS_OK;
}

static enum status find_shape(const struct shape **found, const struct product_key *key)
{
    enum status status = STATUS_OK;
    for (int s = 0; s < SHAPES_KEPT; s++)
        if (shapes[s].operation && same(&shapes[s].key, key)) {
            *found = &shapes[s];
            return STATUS_OK;
        }
    struct shape *shape = &shapes[shape_count++ % SHAPES_KEPT];
    forget(shape);
    shape->key = *key;
    TRY_ELSE(describe(shape), undo);
    TRY_ELSE(choose(shape), undo);
    *found = shape;
    return STATUS_OK;
undo:
    forget(shape);
    return status;
}

enum status cuda_products_run(const struct cuda_product *args, struct CUstream_st *stream)
{
    const struct product_key key = key_of(args);
    const struct shape *shape = NULL;
    const float one = 1;
    const float kept = args->accumulate ? 1 : 0;
    if (args->rows == 0 || args->out == 0)
        return STATUS_OK;
    if (alignment_of(args->workspace) < ALIGNMENT_MOST)
        return fail(STATUS_INTERNAL, "the workspace of products at %p is not aligned to %d bytes",
                    args->workspace, ALIGNMENT_MOST);
    if (!handle)
        TRY(check(lt.create(&handle), "cublasLtCreate"));
    TRY(find_shape(&shape, &key));
    return check_product(lt.run(handle, shape->operation, &one, args->w, shape->w, args->x,
                                shape->x, &kept, args->y, shape->y, args->y, shape->y,
                                &shape->algorithm, args->workspace, args->workspace_bytes, stream),
                         "cublasLtMatmul", &key);
}
